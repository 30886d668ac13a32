#include "lib/backends/cpu/chunk.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>

#include "lib/base/status.h"
#include "lib/forms/forms.h"

namespace lossd {
namespace {

// Elements that one of several losses goes over before the next one does: with two operands of 4
// bytes they stay in the second-level cache, and reading the clock between them costs nothing.
constexpr int64_t kSharedElements = 16384;

struct Conditions {
  const CollectOptions& options;
  const CancellationToken* token;

  bool cancelled() const { return token != nullptr && token->cancelled(); }
};

absl::Status Cancelled() { return absl::CancelledError("the call was cancelled"); }

absl::Status NonFiniteError(const BoundLoss& loss, const FormCall& call, int64_t item) {
  return InvalidArgument("NON_FINITE_ITEM", "",
                         std::string(loss.row->name) + ": the item at " +
                             loss.counted_shape().PlaceOf(call.ItemIndex(item)) +
                             " is not finite, and non_finite is REJECT");
}

// Forms whose gradients take so much of what the items take that they give both at once.
template <class T, class Form>
concept GivesItemsWithGradients = requires(Form form, const GradientCall& gradients,
                                           ItemBlock<T>* block) {
  form.RunGradients(0, 0, gradients, block);
};

// The items of units [first, first + n), to the sums and to their places.
template <class T, class Form>
absl::Status RunItems(const ChunkPart& part, Form& form, int64_t first, int64_t n,
                      const CollectOptions& options, ChunkResult* result) {
  ItemBlock<T> block;
  absl::Status s;
  if constexpr (GivesItemsWithGradients<T, Form>) {
    s = part.gradients != nullptr ? form.RunGradients(first, n, *part.gradients, &block)
                                  : form.Run(first, n, &block);
  } else {
    s = form.Run(first, n, &block);
  }
  if (!s.ok()) return s;
  if constexpr (requires { form.components(); }) result->components = form.components();
  if (part.sums) {
    const int64_t rejected = Collect(ActiveSumKernels(), block, options, result->sums);
    if (rejected >= 0) {
      const int64_t item = first * part.call->items_per_unit() + rejected;
      return NonFiniteError(*part.loss, *part.call, item);
    }
  }
  if (part.values != nullptr) form.StoreItems(part.values);
  return s;
}

// Gradients of units whose items were computed before or are not wanted.
template <class T, class Form>
absl::Status RunGradients(const ChunkPart& part, Form& form, int64_t first, int64_t n) {
  if constexpr (requires { form.RunGradients(first, n, *part.gradients); }) {
    for (const int64_t end = first + n; first < end; first += form.max_units()) {
      const int64_t units = std::min(form.max_units(), end - first);
      if (absl::Status s = form.RunGradients(first, units, *part.gradients); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

// Leading units of [first, end): a block, or a few that a kernel sums in one pass; *n of them.
template <class T, class Form>
absl::Status RunLeading(const ChunkPart& part, Form& form, int64_t first, int64_t end,
                        const CollectOptions& options, ChunkResult* result, int64_t* n) {
  *n = 0;
  if constexpr (requires { form.AddInOnePass(first, end, result->sums); }) {
    if (part.sums && part.values == nullptr && !options.statistics)
      *n = form.AddInOnePass(first, end - first, result->sums);
  }
  bool gradients = part.gradients != nullptr;
  if (*n == 0) {
    *n = std::min(form.max_units(), end - first);
    if (part.sums || part.values != nullptr) {
      if (absl::Status s = RunItems<T>(part, form, first, *n, options, result); !s.ok()) return s;
      gradients = gradients && !GivesItemsWithGradients<T, Form>;
    }
  }
  return gradients ? RunGradients<T>(part, form, first, *n) : absl::OkStatus();
}

template <class T, class Form>
absl::Status RunUnits(const ChunkPart& part, Form& form, int64_t begin, int64_t end,
                      const Conditions& conditions, ChunkResult* result) {
  if constexpr (requires { form.SumClasses(begin, end); }) {
    if (part.work == Work::kClassSums) return form.SumClasses(begin, end);
  }
  if constexpr (requires { form.RunTableGradients(begin, end, *part.gradients); }) {
    if (part.work == Work::kTableGradients)
      return form.RunTableGradients(begin, end, *part.gradients);
  }
  if constexpr (requires { form.RunTableUpdate(begin, end, *part.gradients); }) {
    if (part.work == Work::kTableUpdate) return form.RunTableUpdate(begin, end, *part.gradients);
  }
  for (int64_t first = begin, n = 0; first < end; first += n) {
    if (conditions.cancelled()) return Cancelled();
    absl::Status s = RunLeading<T>(part, form, first, end, conditions.options, result, &n);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

template <class T, class Form>
void RunTimed(const ChunkPart& part, Form& form, int64_t begin, int64_t end,
              const Conditions& conditions, ChunkResult* result) {
  const auto start = std::chrono::steady_clock::now();
  result->status = RunUnits<T>(part, form, begin, end, conditions, result);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  result->seconds += elapsed.count();
}

// Row forms share what they know of a block's rows; of elements there is only the cache to share.
template <class T, class Form>
int64_t StepOf(const std::deque<Form>& forms) {
  int64_t step = kSharedElements;
  if constexpr (!std::is_same_v<Form, ElementForm<T>>) {
    for (const Form& form : forms) step = std::min(step, form.max_units());
  }
  return step;
}

template <class T, class Form>
void RunTogether(std::span<const ChunkPart> parts, int64_t begin, int64_t end,
                 const Conditions& conditions, std::span<ChunkResult> results) {
  std::deque<Form> forms;
  for (const ChunkPart& part : parts) {
    Form& form = forms.emplace_back(*part.call);
    if constexpr (requires { form.CancelBy(conditions.token); }) form.CancelBy(conditions.token);
    if constexpr (std::is_same_v<Form, RowForm<T>>) {
      if (forms.size() > 1) form.ShareRowsWith(&forms.front());
    }
  }
  const int64_t step = StepOf<T>(forms);
  size_t running = parts.size();
  for (int64_t first = begin; first < end && running > 0; first += step) {
    const int64_t last = std::min(end, first + step);
    for (size_t i = 0; i < running; ++i) {
      RunTimed<T>(parts[i], forms[i], first, last, conditions, &results[i]);
      // Later parts do not matter any more, whatever is in them; earlier ones do.
      if (!results[i].status.ok()) running = i;
    }
  }
}

template <class T>
void RunParts(std::span<const ChunkPart> parts, int64_t begin, int64_t end,
              const Conditions& conditions, std::span<ChunkResult> results) {
  if (parts.size() > 1) {
    if (parts[0].call->kernels.rows.f32 != nullptr)
      return RunTogether<T, RowForm<T>>(parts, begin, end, conditions, results);
    return RunTogether<T, ElementForm<T>>(parts, begin, end, conditions, results);
  }
  WithForm<T>(*parts[0].call, [&](auto& form) {
    if constexpr (requires { form.CancelBy(conditions.token); }) form.CancelBy(conditions.token);
    RunTimed<T>(parts[0], form, begin, end, conditions, &results[0]);
  });
}

bool HaveSameElements(const FormCall& a, const FormCall& b) {
  const auto same = [](const Operand& x, const Operand& y) {
    return x.view && !x.repeats && x.view.SameAs(y.view);
  };
  return a.kernels.elementwise.f32 != nullptr && b.kernels.elementwise.f32 != nullptr &&
         a.units == b.units && same(a.operands[0], b.operands[0]) &&
         same(a.operands[1], b.operands[1]);
}

}  // namespace

const SumKernels& ActiveSumKernels() {
  static const SumKernels kernels = GetSumKernels();
  return kernels;
}

bool MayRunTogether(const BoundLoss& a, const BoundLoss& b) {
  return a.compute_type == b.compute_type &&
         (HaveSameRows(a.call, b.call) || HaveSameElements(a.call, b.call));
}

void RunChunk(std::span<const ChunkPart> parts, int64_t begin, int64_t end,
              const CollectOptions& options, const CancellationToken* token,
              std::span<ChunkResult> results) {
  const Conditions conditions = {options, token};
  if (conditions.cancelled()) {
    results[0].status = Cancelled();
  } else if (parts[0].loss->compute_type == DataType::kFloat32) {
    RunParts<float>(parts, begin, end, conditions, results);
  } else {
    RunParts<double>(parts, begin, end, conditions, results);
  }
}

}  // namespace lossd
