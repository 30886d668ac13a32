#include "limit_server.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/byte_buffer.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd::bench {
namespace {

v1::LossResult SomeResult() {
  v1::LossResult result;
  result.set_loss("mse");
  result.set_value(1.25);
  result.set_sum(160.5);
  result.set_sum_weight(128);
  result.set_items(128);
  return result;
}

v1::ComputeLossResponse SomeResponse() {
  v1::ComputeLossResponse response;
  *response.add_results() = SomeResult();
  response.set_total(1.25);
  response.set_arithmetic_revision(1);
  return response;
}

v1::EvaluateResponse SomeEvaluation() {
  v1::EvaluateResponse response;
  *response.mutable_result()->add_summaries()->mutable_result() = SomeResult();
  response.mutable_result()->mutable_state()->set_value(std::string(200, 's'));
  return response;
}

grpc::ByteBuffer Bytes(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// Reads all messages of the stream, then answers once.
template <class Request, class Response>
class Discard : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Discard(const Response* answer) : answer_(answer) { this->StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (ok) {
      this->StartRead(&request_);
    } else {
      this->StartWriteAndFinish(answer_, grpc::WriteOptions(), grpc::Status::OK);
    }
  }
  void OnDone() override { delete this; }

 private:
  const Response* answer_;
  Request request_;
};

class OrdinaryService : public v1::LossService::CallbackService {
 public:
  grpc::ServerUnaryReactor* ComputeLoss(grpc::CallbackServerContext* context,
                                        const v1::ComputeLossRequest*,
                                        v1::ComputeLossResponse* response) override {
    *response = response_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<v1::EvaluateRequest, v1::EvaluateResponse>* Evaluate(
      grpc::CallbackServerContext*) override {
    return new Discard<v1::EvaluateRequest, v1::EvaluateResponse>(&evaluation_);
  }

 private:
  const v1::ComputeLossResponse response_ = SomeResponse();
  const v1::EvaluateResponse evaluation_ = SomeEvaluation();
};

using RawBase = v1::LossService::WithRawCallbackMethod_ComputeLoss<
    v1::LossService::WithRawCallbackMethod_Evaluate<v1::LossService::Service>>;

class RawService : public RawBase {
 public:
  grpc::ServerUnaryReactor* ComputeLoss(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer*,
                                        grpc::ByteBuffer* response) override {
    *response = response_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Evaluate(
      grpc::CallbackServerContext*) override {
    return new Discard<grpc::ByteBuffer, grpc::ByteBuffer>(&evaluation_);
  }

 private:
  const grpc::ByteBuffer response_ = Bytes(SomeResponse());
  const grpc::ByteBuffer evaluation_ = Bytes(SomeEvaluation());
};

using QueueService = v1::LossService::WithRawMethod_ComputeLoss<v1::LossService::Service>;

// One call after another of a completion queue.
class QueueCall {
 public:
  QueueCall(QueueService* service, grpc::ServerCompletionQueue* queue,
            const grpc::ByteBuffer* response)
      : responder_(&context_) {
    service->RequestComputeLoss(&context_, &request_, &responder_, queue, queue, this);
    next_ = [=, this](bool ok) {
      if (ok && !answered_) {
        new QueueCall(service, queue, response);
        answered_ = true;
        responder_.Finish(*response, grpc::Status::OK, this);
      } else {
        delete this;
      }
    };
  }
  void Proceed(bool ok) { next_(ok); }

 private:
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder_;
  bool answered_ = false;
  std::function<void(bool)> next_;
};

void ServeQueue(QueueService* service, grpc::ServerCompletionQueue* queue) {
  constexpr int kWaitingCalls = 64;  // as many as come at a time: none waits to be taken up
  const grpc::ByteBuffer response = Bytes(SomeResponse());
  for (int i = 0; i < kWaitingCalls; ++i) new QueueCall(service, queue, &response);
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<QueueCall*>(tag)->Proceed(ok);
}

}  // namespace

bool RunLimitServer(const std::string& style, const Addresses& addresses) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort(addresses.tcp, grpc::InsecureServerCredentials());
  builder.AddListeningPort(addresses.unix_socket, grpc::InsecureServerCredentials());
  OrdinaryService ordinary;
  RawService raw;
  QueueService queue_service;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  if (style == "queue") {
    builder.RegisterService(&queue_service);
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
      queues.push_back(builder.AddCompletionQueue());
    }
  } else if (style == "raw") {
    builder.RegisterService(&raw);
  } else if (style == "ordinary") {
    builder.RegisterService(&ordinary);
  } else {
    return false;
  }
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return false;
  std::vector<std::thread> threads;
  for (const auto& queue : queues) {
    threads.emplace_back([&queue_service, &queue] { ServeQueue(&queue_service, queue.get()); });
  }
  server->Wait();
  return true;
}

}  // namespace lossd::bench
