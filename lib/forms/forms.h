// The form of a call.
//
// Thread-safety: pure functions.
#ifndef LOSSD_LIB_FORMS_FORMS_H_
#define LOSSD_LIB_FORMS_FORMS_H_

#include "lib/forms/classifier_form.h"
#include "lib/forms/element_form.h"
#include "lib/forms/mask_form.h"
#include "lib/forms/row_form.h"
#include "lib/forms/sequence_form.h"
#include "lib/forms/whole_form.h"

namespace lossd {

// Calls `use` with a form of the compute type T for the call, and returns what it returns.
template <class T, class Use>
auto WithForm(const FormCall& call, const Use& use) {
  if (call.kernels.rows.f32 != nullptr) {
    RowForm<T> form(call);
    return use(form);
  }
  if (call.kernels.whole.f32 != nullptr) {
    WholeForm<T> form(call);
    return use(form);
  }
  if (call.kernels.sequences.f32.advance != nullptr) {
    SequenceForm<T> form(call);
    return use(form);
  }
  if (call.kernels.classifier.f32 != nullptr) {
    ClassifierForm<T> form(call);
    return use(form);
  }
  if (call.kernels.masks.loss != nullptr) {
    MaskForm<T> form(call);
    return use(form);
  }
  ElementForm<T> form(call);
  return use(form);
}

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_FORMS_H_
