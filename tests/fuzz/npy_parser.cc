// Fuzzes lossctl's reader of .npy files: any bytes give an error or tensors that lie within the
// file.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "client/cli/npy_file.h"

namespace {

// Reads every byte, for AddressSanitizer to see.
void Touch(const absl::StatusOr<lossd::TensorView>& view) {
  if (!view.ok()) return;
  const std::byte* bytes = view->Run(0, view->elements(), nullptr);
  unsigned sum = 0;
  for (size_t i = 0; i < view->byte_size(); ++i) sum += std::to_integer<unsigned>(bytes[i]);
  volatile unsigned kept = sum;
  (void)kept;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A file in memory, opened by its path as any other.
  const int file = memfd_create("npy", 0);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size)) std::abort();
  const auto opened = lossd::cli::NpyFile::Open("/proc/self/fd/" + std::to_string(file));
  close(file);
  if (!opened.ok()) return 0;
  std::vector<std::byte> scratch;
  Touch(opened->All(&scratch));
  if (opened->shape().rank() > 0 && opened->rows() > 0) {
    Touch(opened->Rows(0, 1, &scratch));
    Touch(opened->Rows(opened->rows() - 1, 1, &scratch));
    Touch(opened->Rows(opened->rows() / 2, opened->rows() - opened->rows() / 2, &scratch));
  }
  return 0;
}
