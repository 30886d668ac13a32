// Small works of each form for guard.py, which counts the instructions that they take.
//
//   lossd_guard             lists the works: name and elements, tab between
//   lossd_guard WORK TIMES  runs one of them so often
//   lossd_guard --compiler  what compiled it, e.g. "g++ 12"
//
// Everything runs on one thread: what a call hands to the pool has a pool of one.
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <string_view>
#include <vector>

#include "lib/accumulate/block_sum.h"
#include "lib/base/cpu_target.h"
#include "lib/wire/loss_engine.h"
#include "tests/bench/work.h"

namespace lossd::bench {
namespace {

// What is run, and the elements that its instructions are divided by.
struct Guarded {
  std::string name;
  int64_t elements = 1;
  // Prepares, then runs so often.
  std::function<void(int times)> run;
};

Guarded LossOf(const std::string& name, int64_t elements, std::vector<Loss> losses,
               std::function<void(Dataset*)> make, std::vector<std::string> gradients = {}) {
  const Work work = {.name = name,
                     .data = name,
                     .make = std::move(make),
                     .losses = std::move(losses),
                     .gradients = std::move(gradients)};
  return {name, elements, [work](int times) {
            Dataset data;
            work.make(&data);
            const BoundWork bound(work, data);
            ThreadPool pool(1);
            for (int i = 0; i < times; ++i) bound.Compute(&pool);
          }};
}

void AddElements(std::vector<Guarded>* all) {
  constexpr int64_t kElements = 16384;
  const auto regression = [](DataType dtype) {
    return [dtype](Dataset* data) {
      data->AddNormal("predictions", dtype, {kElements});
      data->AddNormal("targets", dtype, {kElements});
    };
  };
  const auto binary = [](Dataset* data) {
    data->AddNormal("logits", DataType::kFloat32, {kElements}, 0, 2);
    data->AddLabels("targets", {kElements}, 2, DataType::kFloat32);
  };
  for (const char* loss : {"mse", "huber", "quantile", "log_cosh", "poisson_nll"}) {
    all->push_back(
        LossOf(std::string(loss) + " f32", kElements, {{loss}}, regression(DataType::kFloat32)));
  }
  for (const char* loss : {"binary_cross_entropy", "focal"})
    all->push_back(LossOf(std::string(loss) + " f32", kElements, {{loss}}, binary));
  all->push_back(LossOf("mse f64", kElements, {{"mse"}}, regression(DataType::kFloat64)));
  all->push_back(LossOf("mse bf16", kElements, {{"mse"}}, regression(DataType::kBfloat16)));
  all->push_back(LossOf("gradient of mse f32", kElements, {{"mse"}}, regression(DataType::kFloat32),
                        {"predictions"}));
}

void AddRows(std::vector<Guarded>* all) {
  const auto classes = [](DataType dtype, int64_t rows, int64_t count) {
    return [=](Dataset* data) {
      data->AddNormal("logits", dtype, {rows, count}, 0, 2);
      data->AddLabels("labels", {rows}, count);
    };
  };
  const std::vector<Loss> cross_entropy = {{"cross_entropy"}};
  all->push_back(LossOf("cross_entropy f32 [16,1000]", 16000, cross_entropy,
                        classes(DataType::kFloat32, 16, 1000)));
  all->push_back(LossOf("cross_entropy bf16 [16,1000]", 16000, cross_entropy,
                        classes(DataType::kBfloat16, 16, 1000)));
  all->push_back(LossOf("cross_entropy f32 [1600,10]", 16000, cross_entropy,
                        classes(DataType::kFloat32, 1600, 10)));
  all->push_back(LossOf("gradient of cross_entropy f32 [16,1000]", 16000, cross_entropy,
                        classes(DataType::kFloat32, 16, 1000), {"logits"}));
  all->push_back(LossOf("cross_entropy + zero_one + entropy + focal f32 [16,1000]", 16000,
                        {{"cross_entropy"}, {"zero_one"}, {"entropy"}, {"focal"}},
                        classes(DataType::kFloat32, 16, 1000)));
  for (const bool pointwise : {false, true}) {
    all->push_back(
        LossOf(pointwise ? "kl_divergence pointwise f32" : "kl_divergence f32", 16384,
               {{"kl_divergence", {{"pointwise", pointwise}}}}, [](Dataset* data) {
                 data->AddProbabilities("log_probs", DataType::kFloat32, {16, 1024}, true);
                 data->AddProbabilities("target_probs", DataType::kFloat32, {16, 1024}, false);
               }));
  }
}

void AddForms(std::vector<Guarded>* all) {
  const auto faces = [](Dataset* data) {
    data->AddNormal("embeddings", DataType::kFloat32, {64, 128});
    data->AddNormal("classifier", DataType::kFloat32, {1000, 128}, 0, 0.05);
    data->AddLabels("labels", {64}, 1000);
  };
  constexpr int64_t kProducts = 64 * 128 * 1000;
  all->push_back(LossOf("arcface f32 [64,128]x1000", kProducts, {{"arcface"}}, faces));
  all->push_back(LossOf("gradients of arcface f32 [64,128]x1000", kProducts, {{"arcface"}}, faces,
                        {"embeddings", "classifier"}));
  for (const char* loss : {"giou", "ciou"}) {
    all->push_back(LossOf(std::string(loss) + " f32", 4000, {{loss}}, [](Dataset* data) {
      data->Add("predictions", DataType::kFloat32, {4000, 4}, {1, 2, 5, 9, 3, 1, 4, 8, 7, 7, 9, 9});
      data->Add("targets", DataType::kFloat32, {4000, 4}, {2, 2, 6, 8, 1, 1, 2, 2});
    }));
  }
  all->push_back(LossOf("dice f32 [4,4096]", 16384, {{"dice"}}, [](Dataset* data) {
    data->AddNormal("logits", DataType::kFloat32, {4, 4096});
    data->AddLabels("targets", {4, 4096}, 2, DataType::kFloat32);
  }));
  all->push_back(LossOf("triplet f32 [32,512]", 16384, {{"triplet"}}, [](Dataset* data) {
    for (const char* name : {"anchor", "positive", "negative"})
      data->AddNormal(name, DataType::kFloat32, {32, 512});
  }));
  all->push_back(LossOf("ctc f32 T=50 N=4 C=32 S=10", 6400, {{"ctc"}}, [](Dataset* data) {
    data->AddProbabilities("log_probs", DataType::kFloat32, {4, 50, 32}, true);
    data->AddLabels("labels", {4, 10}, 32, DataType::kInt64, 1);
    data->Add("input_lengths", DataType::kInt64, {4}, {50});
    data->Add("label_lengths", DataType::kInt64, {4}, {10});
  }));
}

// A request of 1 KB as the server gets it: parsed, computed, answered.
void RunRequest(int times) {
  EngineOptions options;
  options.threads = 1;
  const auto engine = LossEngine::Create(std::move(options));
  if (!engine.ok()) Fail(std::string(engine.status().message()));
  v1::ComputeLossRequest request;
  request.add_losses()->mutable_mse();
  Dataset data;
  data.AddNormal("predictions", DataType::kFloat32, {128});
  data.AddNormal("targets", DataType::kFloat32, {128});
  for (const auto& [name, view] : data.tensors()) {
    v1::Tensor& tensor = (*request.mutable_inputs())[name];
    tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
    tensor.add_shape(view.elements());
    tensor.set_data(data.DataOf(view), view.byte_size());
  }
  const std::string bytes = request.SerializeAsString();
  for (int i = 0; i < times; ++i) {
    v1::ComputeLossRequest parsed;
    v1::ComputeLossResponse response;
    if (!parsed.ParseFromString(bytes)) Fail("the request does not parse");
    std::promise<absl::Status> done;
    (*engine)->ComputeLoss(parsed, &response, nullptr,
                           [&](absl::Status status) { done.set_value(std::move(status)); });
    if (!done.get_future().get().ok()) Fail("the request is refused");
    if (response.SerializeAsString().empty()) Fail("the response is empty");
  }
}

void RunSmallCall(int times) {
  Dataset data;
  data.AddNormal("predictions", DataType::kFloat32, {16});
  data.AddNormal("targets", DataType::kFloat32, {16});
  const BoundLoss loss = *Bind(Spec({"mse"}), data.tensors());
  for (int i = 0; i < times; ++i) {
    if (!ComputeMean(loss).ok()) Fail("mse is refused");
  }
}

void AddCalls(std::vector<Guarded>* all) {
  constexpr int64_t kValues = 16384;
  all->push_back({"AddBlock f32", kValues, [](int times) {
                    Dataset data;
                    data.AddNormal("values", DataType::kFloat32, {kValues});
                    const std::byte* const bytes = data.DataOf(data.largest());
                    ExactSum sum;
                    for (int i = 0; i < times; ++i)
                      AddBlock(GetSumKernels(), reinterpret_cast<const float*>(bytes), kValues,
                               &sum);
                  }});
  all->push_back({"ExactSum::Add", kValues, [](int times) {
                    ExactSum sum;
                    for (int i = 0; i < times; ++i) {
                      for (int64_t j = 0; j < kValues; ++j)
                        sum.Add(1.0 / static_cast<double>(j + 1));
                    }
                    if (sum.Round() == 0) Fail("the sum is empty");
                  }});
  all->push_back({"mse of 16, one call", 1, RunSmallCall});
  all->push_back({"ComputeLoss of 1 KB, without a transport", 1, RunRequest});
}

std::vector<Guarded> AllGuarded() {
  std::vector<Guarded> all;
  AddElements(&all);
  AddRows(&all);
  AddForms(&all);
  AddCalls(&all);
  return all;
}

std::string Compiler() {
#if defined(__clang__)
  return "clang " + std::to_string(__clang_major__);
#else
  return "g++ " + std::to_string(__GNUC__);
#endif
}

int Main(int argc, char** argv) {
  if (absl::Status status = InitCpuTarget(); !status.ok()) Fail(std::string(status.message()));
  if (argc == 2 && std::string_view(argv[1]) == "--compiler") {
    std::printf("%s\n", Compiler().c_str());
    return 0;
  }
  for (const Guarded& guarded : AllGuarded()) {
    if (argc == 1)
      std::printf("%s\t%lld\n", guarded.name.c_str(), static_cast<long long>(guarded.elements));
    if (argc == 3 && guarded.name == argv[1]) {
      guarded.run(std::atoi(argv[2]));
      return 0;
    }
  }
  if (argc == 1) return 0;
  std::fprintf(stderr, "usage: lossd_guard [--compiler | WORK TIMES]\n");
  return 2;
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) { return lossd::bench::Main(argc, argv); }
