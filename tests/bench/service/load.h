// The clients: one of raw bytes over memory that is never copied, which drives every server, so
// that what differs between rows is the server; and the C++ SDK as programs use it.
//
// Thread-safety: none. Ownership: a Client outlives its calls; payloads are a Source's.
#ifndef LOSSD_TESTS_BENCH_SERVICE_LOAD_H_
#define LOSSD_TESTS_BENCH_SERVICE_LOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/src/lent_message.h"
#include "grpcpp/channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "lossd/client.h"

namespace lossd::bench {

// Predictions and targets of mse, more than fit the caches, and requests that are cut out of them.
class Source {
 public:
  explicit Source(int64_t elements);

  // The next piece of both tensors; goes round.
  Inputs Next(int64_t elements);
  // A ComputeLoss request of mse, and one Evaluate step each.
  grpc::ByteBuffer Unary(int64_t elements);
  grpc::ByteBuffer Spec();
  grpc::ByteBuffer Batch(int64_t elements);
  grpc::ByteBuffer Finish();
  v1::ComputeLossRequest OrdinaryUnary(int64_t elements);

 private:
  std::vector<float> predictions_;
  std::vector<float> targets_;
  int64_t next_ = 0;
  Loan loan_;
};

class Client {
 public:
  // `connections` to one server, each of its own.
  Client(const std::string& address, int connections);

  // Calls a second with `in_flight` of them at a time, all the time.
  double UnaryRate(const std::vector<grpc::ByteBuffer>& requests, int in_flight, double seconds);
  // The same with messages of generated classes, one at a time.
  double OrdinaryUnaryRate(const v1::ComputeLossRequest& request, double seconds);
  // One stream: batches while `more(batches sent)`, then finish. Returns when the result came.
  void Stream(Source* source, int64_t elements, const std::function<bool(int64_t)>& more);
  // Batches a second of a stream that sends so long, from its start until its result came.
  double StreamRate(Source* source, int64_t elements, double seconds);

 private:
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
};

// The SDK with a connection of its own.
class SdkClient {
 public:
  explicit SdkClient(const std::string& address);

  // Calls a second, one at a time.
  double UnaryRate(Source* source, int64_t elements, double seconds);
  // As Client::StreamRate.
  double StreamRate(Source* source, int64_t elements, double seconds);

 private:
  lossd::Client client_;
};

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_SERVICE_LOAD_H_
