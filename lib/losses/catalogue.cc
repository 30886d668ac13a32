#include "lib/losses/catalogue.h"

#include "lib/base/cpu_target.h"
#include "lib/losses/families.h"

namespace lossd {

Catalogue::Catalogue() {
  // Its status is the caller's business: it chose to go on.
  InitCpuTarget().IgnoreError();
  for (const auto family : kFamilies) {
    const LossTable table = family();
    rows_.insert(rows_.end(), table.rows.begin(), table.rows.end());
  }
}

const Catalogue& Catalogue::Get() {
  static const Catalogue* const catalogue = new Catalogue();
  return *catalogue;
}

const LossRow* Catalogue::Find(std::string_view name) const {
  for (const LossRow& row : rows_) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace lossd
