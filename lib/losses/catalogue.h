// The catalogue: every loss, in one order. Rows keep their addresses and indices for the life of
// the program. Thread-safe. The first use fetches the kernel tables, so InitCpuTarget comes before
// it.
#ifndef LOSSD_LIB_LOSSES_CATALOGUE_H_
#define LOSSD_LIB_LOSSES_CATALOGUE_H_

#include <string_view>
#include <vector>

#include "lib/losses/descriptor.h"

namespace lossd {

// Bits of results and states are equal within one revision. A change of any bit of any loss is a
// new one.
inline constexpr int kArithmeticRevision = 1;

class Catalogue {
 public:
  static const Catalogue& Get();

  const std::vector<LossRow>& rows() const { return rows_; }
  // Null for a name that is no loss.
  const LossRow* Find(std::string_view name) const;
  int IndexOf(const LossRow& row) const { return static_cast<int>(&row - rows_.data()); }

 private:
  Catalogue();

  std::vector<LossRow> rows_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_CATALOGUE_H_
