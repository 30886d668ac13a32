#include "server/metrics/metrics.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

// By number, in the spelling that the dashboards of other gRPC servers query for.
constexpr std::array<std::string_view, 17> kCodeNames{
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};
constexpr int kUnknownCode = 2;

// What admission and the engine's permanent limits answer.
constexpr std::string_view kReasons[] = {
    "INFLIGHT_BYTES",      "STREAM_SLOTS",       "DRAINING", "STATE_TOO_LARGE",
    "CONSTANTS_TOO_LARGE", "RESPONSE_TOO_LARGE", "OTHER"};

// A small call takes tens of microseconds, a batch of 16 MiB some ms, an evaluation minutes.
const prometheus::Histogram::BucketBoundaries kCallSeconds{
    0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 60, 600};
// One loss over one batch.
const prometheus::Histogram::BucketBoundaries kComputeSeconds{0.00001, 0.0001, 0.001, 0.01,
                                                              0.1,     1,      10};

}  // namespace

Metrics::Metrics(const std::vector<std::string>& losses, const BuildFacts& build,
                 int64_t max_label_sets)
    : registry_(std::make_shared<prometheus::Registry>()),
      evaluations_(registry_.get(), max_label_sets) {
  ResolveMethods();
  ResolveLosses(losses);
  ResolveServer(build);
}

void Metrics::ResolveMethods() {
  auto& started = BuildCounter()
                      .Name("grpc_server_started_total")
                      .Help("Calls that lossd began to serve.")
                      .Register(*registry_);
  auto& handled = BuildCounter()
                      .Name("grpc_server_handled_total")
                      .Help("Calls that lossd has ended, by status code.")
                      .Register(*registry_);
  auto& seconds = BuildHistogram()
                      .Name("grpc_server_handling_seconds")
                      .Help("Time from the start of a call to its status.")
                      .Register(*registry_);
  for (size_t m = 0; m < kMethodNames.size(); ++m) {
    const prometheus::Labels labels{{"grpc_service", std::string(kServiceName)},
                                    {"grpc_method", std::string(kMethodNames[m])}};
    methods_[m].started = &started.Add(labels);
    methods_[m].seconds = &seconds.Add(labels, kCallSeconds);
    for (size_t code = 0; code < kCodes; ++code) {
      prometheus::Labels with_code = labels;
      with_code["grpc_code"] = std::string(kCodeNames[code]);
      methods_[m].handled[code] = &handled.Add(with_code);
    }
  }
}

void Metrics::ResolveLosses(const std::vector<std::string>& losses) {
  auto& items = BuildCounter()
                    .Name("lossd_items_total")
                    .Help("Items computed, by loss.")
                    .Register(*registry_);
  auto& seconds = BuildHistogram()
                      .Name("lossd_compute_seconds")
                      .Help("Thread time that one loss took over one batch.")
                      .Register(*registry_);
  auto& nonfinite = BuildCounter()
                        .Name("lossd_nonfinite_items_total")
                        .Help("Items that were NaN or infinite, by loss.")
                        .Register(*registry_);
  losses_.reserve(losses.size());
  for (const std::string& loss : losses) {
    losses_.push_back({&items.Add({{"loss", loss}}),
                       &seconds.Add({{"loss", loss}}, kComputeSeconds),
                       &nonfinite.Add({{"loss", loss}, {"kind", "nan"}}),
                       &nonfinite.Add({{"loss", loss}, {"kind", "inf"}})});
  }
}

void Metrics::ResolveServer(const BuildFacts& build) {
  received_bytes_ = &BuildCounter()
                         .Name("lossd_received_bytes_total")
                         .Help("Bytes of the request messages that came in.")
                         .Register(*registry_)
                         .Add({});
  inflight_bytes_ =
      &BuildGauge()
           .Name("lossd_inflight_bytes")
           .Help("Bytes of requests and constants held now (flag max-inflight-bytes).")
           .Register(*registry_)
           .Add({});
  stream_resumes_ = &BuildCounter()
                         .Name("lossd_stream_resumes_total")
                         .Help("Evaluate streams that went on from a checkpoint.")
                         .Register(*registry_)
                         .Add({});
  auto& rejected = BuildCounter()
                       .Name("lossd_rejected_total")
                       .Help("Calls refused by a limit or while draining, by reason.")
                       .Register(*registry_);
  for (const std::string_view reason : kReasons) {
    rejected_.emplace_back(reason, &rejected.Add({{"reason", std::string(reason)}}));
  }
  BuildGauge()
      .Name("lossd_build_info")
      .Help("1; the labels say what runs.")
      .Register(*registry_)
      .Add({{"version", build.version},
            {"arithmetic_revision", absl::StrCat(build.arithmetic_revision)},
            {"simd_target", build.simd_target}})
      .Set(1);
}

void Metrics::CallStarted(Method method) {
  methods_[static_cast<size_t>(method)].started->Increment();
}

void Metrics::CallHandled(Method method, int code, double seconds) {
  if (code < 0 || code >= static_cast<int>(kCodes)) code = kUnknownCode;
  const MethodHandles& handles = methods_[static_cast<size_t>(method)];
  handles.handled[static_cast<size_t>(code)]->Increment();
  handles.seconds->Observe(seconds);
}

void Metrics::Received(int64_t bytes) { received_bytes_->Increment(static_cast<double>(bytes)); }

void Metrics::InflightChanged(int64_t delta_bytes) {
  inflight_bytes_->Increment(static_cast<double>(delta_bytes));
}

void Metrics::Rejected(std::string_view reason) {
  for (const auto& [name, counter] : rejected_) {
    if (name == reason || counter == rejected_.back().second) {
      counter->Increment();
      return;
    }
  }
}

void Metrics::StreamResumed() { stream_resumes_->Increment(); }

void Metrics::Computed(int loss_index, int64_t items, int64_t nan_items, int64_t inf_items,
                       double seconds) {
  if (loss_index < 0 || loss_index >= static_cast<int>(losses_.size())) return;
  const LossHandles& handles = losses_[static_cast<size_t>(loss_index)];
  handles.items->Increment(static_cast<double>(items));
  handles.seconds->Observe(seconds);
  if (nan_items > 0) handles.nan_items->Increment(static_cast<double>(nan_items));
  if (inf_items > 0) handles.inf_items->Increment(static_cast<double>(inf_items));
}

}  // namespace lossd
