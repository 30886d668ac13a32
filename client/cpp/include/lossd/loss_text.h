// The text form of a loss, as the command line takes it. Thread-safe.
//
// It is the protobuf text form of lossd.v1.Loss, with what is convenient on a command line:
//
//   mse                                           a bare name: all parameters at their defaults
//   huber { delta: 2 }                            parameters
//   bce { unit: BITS }                            an alias of the clients; an enum value without
//   its prefix weight: 0.5 label: head_a mse                 weight, label: a word needs no quotes
//   inputs { predictions: head_a } mse            the input `predictions` is the tensor named
//   head_a
//
// Aliases: l1, l2, mbe, bce, ce, nll, kl, pinball, sphereface, lmcl, aam_softmax, f1_loss (dice).
// nll also binds the input log_probs, so that it is never taken from logits.
#ifndef LOSSD_LOSS_TEXT_H_
#define LOSSD_LOSS_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lossd/v1/losses.pb.h"

namespace lossd {

// INVALID_ARGUMENT (LOSS_TEXT) for a text that is none; the message is followed by the text and,
// below it, a caret at the place.
absl::StatusOr<v1::Loss> ParseLoss(std::string_view text);

// The name in the catalogue of a loss or of an alias.
std::string_view LossName(std::string_view name);

}  // namespace lossd

#endif  // LOSSD_LOSS_TEXT_H_
