// Requests in gRPC's form that carry the caller's tensors without a copy: what is small lies in
// slices of its own, the elements of large tensors in slices over the caller's memory.
//
// Thread-safety: a Loan belongs to one call; gRPC gives slices back from its own threads.
// Ownership: the caller's memory outlives the Loan, whose destructor waits until gRPC has let go of
// all slices. A call keeps what it did not send until its ClientContext is gone, and the transport
// what it is just writing: destroy message and context first.
#ifndef LOSSD_CLIENT_CPP_SRC_LENT_MESSAGE_H_
#define LOSSD_CLIENT_CPP_SRC_LENT_MESSAGE_H_

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// Memory that gRPC uses where it lies.
class Loan {
 public:
  Loan() = default;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan();

  grpc::Slice Lend(std::span<const std::byte> bytes);
  // Blocks until every slice is back. False: some are not, and the wait was interrupted.
  bool WaitReturned();
  // From now on nobody is to wait but the destructor: the call has ended, and keeps the rest.
  void Interrupt();

 private:
  static void GiveBack(void* loan);

  std::mutex mutex_;
  std::condition_variable changed_;
  int lent_ = 0;              // by mutex
  bool interrupted_ = false;  // by mutex
};

// `request` with `inputs` added to its own. INVALID_ARGUMENT (MESSAGE_SIZE) over the 2 GiB of a
// protobuf message.
absl::StatusOr<grpc::ByteBuffer> LendMessage(const v1::ComputeLossRequest& request,
                                             const Inputs& inputs, Loan* loan);
// `step` with `tensors` added: the inputs of a batch; of a constant the one tensor is its piece.
absl::StatusOr<grpc::ByteBuffer> LendMessage(const v1::EvaluateRequest& step, const Inputs& tensors,
                                             Loan* loan);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_LENT_MESSAGE_H_
