#include "load.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <span>
#include <utility>

#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd::bench {
namespace {

constexpr char kComputeLoss[] = "/lossd.v1.LossService/ComputeLoss";
constexpr char kEvaluate[] = "/lossd.v1.LossService/Evaluate";

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A rate of failing calls would look splendid.
void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "service_bench: a call failed: %s\n", status.ToString().c_str());
  std::exit(1);
}

void Check(const grpc::Status& status) {
  // gRPC and Abseil number the codes alike.
  Check(absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message()));
}

grpc::ByteBuffer Lent(absl::StatusOr<grpc::ByteBuffer> message) { return *std::move(message); }

v1::Loss Mse() {
  v1::Loss loss;
  loss.mutable_mse();
  return loss;
}

v1::ComputeLossRequest MseRequest() {
  v1::ComputeLossRequest request;
  *request.add_losses() = Mse();
  return request;
}

std::vector<float> NormalNumbers(int64_t elements, unsigned seed) {
  std::minstd_rand random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<size_t>(elements));
  for (float& number : numbers) number = normal(random);
  return numbers;
}

ClientOptions OptionsFor(const std::string& address) {
  ClientOptions options;
  options.endpoint = address;
  return options;
}

// A call that is under way again and again.
struct Slot {
  grpc::GenericStub* stub = nullptr;
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;
  grpc::ByteBuffer response;
  grpc::Status status;

  void Start(const grpc::ByteBuffer& request, grpc::CompletionQueue* queue) {
    reader.reset();  // lives in the call of its context
    context.emplace();
    response.Clear();
    reader = stub->PrepareUnaryCall(&*context, kComputeLoss, request, queue);
    reader->StartCall();
    reader->Finish(&response, &status, this);
  }
};

}  // namespace

Source::Source(int64_t elements)
    : predictions_(NormalNumbers(elements, 1)), targets_(NormalNumbers(elements, 2)) {}

Inputs Source::Next(int64_t elements) {
  if (next_ + elements > static_cast<int64_t>(predictions_.size())) next_ = 0;
  const auto piece = [&](const std::vector<float>& numbers) {
    return *ViewOf(std::span<const float>(numbers).subspan(static_cast<size_t>(next_),
                                                           static_cast<size_t>(elements)),
                   {elements});
  };
  Inputs inputs = {{"predictions", piece(predictions_)}, {"targets", piece(targets_)}};
  next_ += elements;
  return inputs;
}

grpc::ByteBuffer Source::Unary(int64_t elements) {
  return Lent(LendMessage(MseRequest(), Next(elements), &loan_));
}

grpc::ByteBuffer Source::Spec() {
  v1::EvaluateRequest step;
  *step.mutable_spec()->add_losses() = Mse();
  return Lent(LendMessage(step, {}, &loan_));
}

grpc::ByteBuffer Source::Batch(int64_t elements) {
  v1::EvaluateRequest step;
  step.mutable_batch();
  return Lent(LendMessage(step, Next(elements), &loan_));
}

grpc::ByteBuffer Source::Finish() {
  v1::EvaluateRequest step;
  step.mutable_finish();
  return Lent(LendMessage(step, {}, &loan_));
}

v1::ComputeLossRequest Source::OrdinaryUnary(int64_t elements) {
  v1::ComputeLossRequest request = MseRequest();
  for (const auto& [name, tensor] : Next(elements)) {
    ToProto(tensor, &(*request.mutable_inputs())[name]);
  }
  return request;
}

Client::Client(const std::string& address, int connections) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all share one connection
  for (int i = 0; i < connections; ++i) {
    channels_.push_back(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
  }
}

double Client::UnaryRate(const std::vector<grpc::ByteBuffer>& requests, int in_flight,
                         double seconds) {
  grpc::CompletionQueue queue;
  std::vector<Slot> slots(static_cast<size_t>(in_flight));
  size_t next = 0;
  const auto request = [&]() -> const grpc::ByteBuffer& {
    return requests[next++ % requests.size()];
  };
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < slots.size(); ++i) {
    slots[i].stub = stubs_[i % stubs_.size()].get();
    slots[i].Start(request(), &queue);
  }
  int64_t answered = 0;
  size_t running = slots.size();
  double elapsed = 0;
  void* tag = nullptr;
  bool ok = false;
  while (running > 0 && queue.Next(&tag, &ok)) {
    Slot* slot = static_cast<Slot*>(tag);
    Check(slot->status);
    if (elapsed < seconds) {
      ++answered;
      elapsed = SecondsSince(start);
    }
    if (elapsed < seconds) {
      slot->Start(request(), &queue);
    } else {
      --running;
    }
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  return static_cast<double>(answered) / elapsed;
}

double Client::OrdinaryUnaryRate(const v1::ComputeLossRequest& request, double seconds) {
  const std::unique_ptr<v1::LossService::Stub> stub = v1::LossService::NewStub(channels_[0]);
  const Clock::time_point start = Clock::now();
  int64_t calls = 0;
  while (SecondsSince(start) < seconds) {
    grpc::ClientContext context;
    v1::ComputeLossResponse response;
    Check(stub->ComputeLoss(&context, request, &response));
    ++calls;
  }
  return static_cast<double>(calls) / SecondsSince(start);
}

void Client::Stream(Source* source, int64_t elements, const std::function<bool(int64_t)>& more) {
  enum Step : intptr_t { kStart, kWrite, kRead, kFinish };
  const auto tag_of = [](Step step) { return reinterpret_cast<void*>(step); };
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto stream = stubs_[0]->PrepareCall(&context, kEvaluate, &queue);
  grpc::ByteBuffer answer;
  grpc::Status status;
  int64_t sent = 0;
  bool finishing = false;
  stream->StartCall(tag_of(kStart));
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
    const auto step = static_cast<Step>(reinterpret_cast<intptr_t>(tag));
    if (step == kFinish) break;
    if (step == kStart) {
      stream->Read(&answer, tag_of(kRead));
      stream->Write(source->Spec(), tag_of(kWrite));
    } else if (step == kRead && ok) {
      stream->Read(&answer, tag_of(kRead));
    } else if (step == kRead) {
      stream->Finish(&status, tag_of(kFinish));
    } else if (ok && !finishing && more(sent)) {
      stream->Write(source->Batch(elements), tag_of(kWrite));
      ++sent;
    } else if (ok && !finishing) {
      finishing = true;
      stream->WriteLast(source->Finish(), grpc::WriteOptions(), tag_of(kWrite));
    }
  }
  Check(status);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

double Client::StreamRate(Source* source, int64_t elements, double seconds) {
  const Clock::time_point start = Clock::now();
  int64_t batches = 0;
  Stream(source, elements, [&](int64_t sent) {
    batches = sent;
    return SecondsSince(start) < seconds;
  });
  return static_cast<double>(batches) / SecondsSince(start);
}

SdkClient::SdkClient(const std::string& address)
    : client_(*lossd::Client::Connect(OptionsFor(address))) {}

double SdkClient::UnaryRate(Source* source, int64_t elements, double seconds) {
  const Clock::time_point start = Clock::now();
  int64_t calls = 0;
  while (SecondsSince(start) < seconds) {
    Check(client_.ComputeLoss({Mse()}, source->Next(elements)).status());
    ++calls;
  }
  return static_cast<double>(calls) / SecondsSince(start);
}

double SdkClient::StreamRate(Source* source, int64_t elements, double seconds) {
  v1::EvaluationSpec spec;
  *spec.add_losses() = Mse();
  const Clock::time_point start = Clock::now();
  int64_t batches = 0;
  IndexedSource batch_source([&](int64_t sequence) -> absl::StatusOr<std::optional<lossd::Batch>> {
    if (SecondsSince(start) >= seconds) return std::optional<lossd::Batch>();
    batches = sequence + 1;
    lossd::Batch batch;
    batch.inputs = source->Next(elements);
    return std::optional<lossd::Batch>(std::move(batch));
  });
  Check(client_.Evaluate(spec).Run(batch_source).status());
  return static_cast<double>(batches) / SecondsSince(start);
}

}  // namespace lossd::bench
