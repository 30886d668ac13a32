#include "lib/forms/shared_table.h"

#include "lib/forms/operand_reader.h"

namespace lossd {

template <class T>
void SharedTable::Place(const FormCall& call, RowBlock<T>* block) {
  block->width = static_cast<size_t>(call.width);
  block->table_rows = static_cast<size_t>(call.classes);
  std::call_once(read_, [&] {
    const TensorView& view = call.table.view;
    const size_t n = static_cast<size_t>(view.elements());
    const bool in_place = view.contiguous() && view.dtype() == DataTypeOf<T>();
    if (!in_place) copy_ = std::make_unique_for_overwrite<std::byte[]>(n * sizeof(T));
    int64_t inexact = -1;  // never: the table is of a floating type
    rows_ = ReadRun<T>(view, 0, n, reinterpret_cast<T*>(copy_.get()), &inexact);
    const TableKernel<T> value = call.kernels.rows.Table<T>().value;
    if (value == nullptr) return;
    block->table = static_cast<const T*>(rows_);
    value_ = value(call.parameters.data(), *block);
  });
  block->table = static_cast<const T*>(rows_);
  block->table_value = value_;
}

template void SharedTable::Place(const FormCall&, RowBlock<float>*);
template void SharedTable::Place(const FormCall&, RowBlock<double>*);

}  // namespace lossd
