#include "lossd/batch_source.h"

#include <cstring>
#include <string>
#include <utility>

#include "lib/base/status.h"

namespace lossd {

GeneratorSource::GeneratorSource(Function function, int64_t first_sequence)
    : function_(std::move(function)), first_kept_(first_sequence) {}

absl::StatusOr<std::optional<Batch>> GeneratorSource::Get(int64_t sequence) {
  if (sequence < first_kept_) {
    return FailedPrecondition(
        "BATCH_RELEASED", "",
        "batch " + std::to_string(sequence) + " was released: the generator gives each batch once");
  }
  while (!ended_ && sequence >= first_kept_ + static_cast<int64_t>(kept_.size())) {
    absl::StatusOr<std::optional<Batch>> next = function_();
    if (!next.ok()) return next.status();
    if (!next->has_value()) {
      ended_ = true;
      break;
    }
    Kept kept;
    kept.batch.first_sample = (*next)->first_sample;
    kept.batch.sample_ids = std::move((*next)->sample_ids);
    for (const auto& [name, tensor] : (*next)->inputs) {
      std::vector<std::byte>& bytes = kept.bytes[name];
      bytes.resize(tensor.byte_size());
      if (!bytes.empty()) {
        const std::byte* from = tensor.Run(0, tensor.elements(), bytes.data());
        if (from != bytes.data()) std::memcpy(bytes.data(), from, bytes.size());
      }
      absl::StatusOr<TensorView> view = TensorView::Create(tensor.dtype(), tensor.shape(), bytes);
      if (!view.ok()) return view.status();
      kept.batch.inputs[name] = *view;
      kept_bytes_ += static_cast<int64_t>(bytes.size());
    }
    kept_.push_back(std::move(kept));
  }
  const auto index = static_cast<size_t>(sequence - first_kept_);
  if (index >= kept_.size()) return std::optional<Batch>();
  return std::optional<Batch>(kept_[index].batch);
}

void GeneratorSource::Release(int64_t next_sequence) {
  while (first_kept_ < next_sequence && !kept_.empty()) {
    for (const auto& [name, bytes] : kept_.front().bytes)
      kept_bytes_ -= static_cast<int64_t>(bytes.size());
    kept_.pop_front();
    ++first_kept_;
  }
}

}  // namespace lossd
