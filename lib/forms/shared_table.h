// The table of a call as its kernels read it: contiguous and of the compute type, with the number
// that the loss makes of it as a whole. Read once a call, by the first form that asks; the others
// wait for it.
//
// Thread-safe. Ownership: owns a copy where the tensor cannot be read in place, else views it.
#ifndef LOSSD_LIB_FORMS_SHARED_TABLE_H_
#define LOSSD_LIB_FORMS_SHARED_TABLE_H_

#include <cstddef>
#include <memory>
#include <mutex>

#include "lib/forms/form.h"
#include "lib/forms/kernels.h"

namespace lossd {

class SharedTable {
 public:
  // Sets the table of the block, and its value. All calls are for the same `call` and T.
  template <class T>
  void Place(const FormCall& call, RowBlock<T>* block);

 private:
  std::once_flag read_;
  std::unique_ptr<std::byte[]> copy_;  // null: in place
  const void* rows_ = nullptr;
  double value_ = 0;
};

extern template void SharedTable::Place(const FormCall&, RowBlock<float>*);
extern template void SharedTable::Place(const FormCall&, RowBlock<double>*);

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_SHARED_TABLE_H_
