// The methods of lossd.v1.LossService, as indices of metric handles.
#ifndef LOSSD_SERVER_METRICS_METHOD_H_
#define LOSSD_SERVER_METRICS_METHOD_H_

#include <array>
#include <cstddef>
#include <string_view>

namespace lossd {

inline constexpr std::string_view kServiceName = "lossd.v1.LossService";

enum class Method { kComputeLoss, kEvaluate, kMergeEvaluations, kListLosses, kGetServerInfo };

inline constexpr std::array<std::string_view, 5> kMethodNames{
    "ComputeLoss", "Evaluate", "MergeEvaluations", "ListLosses", "GetServerInfo"};

constexpr std::string_view MethodName(Method method) {
  return kMethodNames[static_cast<size_t>(method)];
}

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_METHOD_H_
