#include "rows.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lossd::bench {
namespace {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Of what ran side by side.
double MedianRatio(const std::vector<double>& values, const std::vector<double>& to) {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / to[i]);
  return Median(ratios);
}

struct Measured {
  const Contender* contender;
  std::vector<double> values;
};

// The fastest of a role; null without one.
const Measured* Fastest(const std::vector<Measured>& measured, Contender::Role role) {
  const Measured* fastest = nullptr;
  for (const Measured& one : measured) {
    if (one.contender->role != role) continue;
    if (fastest == nullptr || Median(one.values) > Median(fastest->values)) fastest = &one;
  }
  return fastest;
}

std::string Number(double value) {
  return absl::StrFormat(value >= 1000 ? "%.0f" : value >= 100 ? "%.1f" : "%.3f", value);
}

std::string Quoted(const std::string& text) { return absl::StrCat("\"", text, "\""); }

std::string Line(const Row& row, const std::string& limit, const std::string& peer) {
  return absl::StrFormat("%-52s %10s %-8s %-44s %-44s %s\n", row.work, Number(row.value), row.unit,
                         limit, peer, row.note);
}

}  // namespace

Row Compare(const std::string& work, const std::string& unit, int rounds,
            const std::vector<Contender>& contenders) {
  std::vector<Measured> measured;
  for (const Contender& contender : contenders) measured.push_back({&contender, {}});
  for (int round = 0; round <= rounds; ++round) {
    for (Measured& one : measured) {
      const double value = one.contender->measure();
      if (round > 0) one.values.push_back(value);
    }
  }
  const Measured* lossd = Fastest(measured, Contender::kLossd);
  const Measured* limit = Fastest(measured, Contender::kLimit);
  const Measured* peer = Fastest(measured, Contender::kPeer);
  Row row{.work = work, .unit = unit, .value = Median(lossd->values)};
  row.limit = limit->contender->name;
  row.limit_value = Median(limit->values);
  row.ratio = MedianRatio(lossd->values, limit->values);
  if (peer != nullptr) {
    row.peer = peer->contender->name;
    row.peer_value = Median(peer->values);
    row.peer_ratio = MedianRatio(lossd->values, peer->values);
  }
  for (const Measured& one : measured) {
    if (&one == lossd || &one == limit || &one == peer) continue;
    absl::StrAppend(&row.note, row.note.empty() ? "" : "; ", one.contender->name, " ",
                    Number(Median(one.values)), " (ratio ",
                    Number(MedianRatio(lossd->values, one.values)), ")");
  }
  return row;
}

void PrintTable(const std::vector<Row>& rows, std::ostream& out) {
  for (const Row& row : rows) {
    const auto against = [](const std::string& name, double value, double ratio) {
      if (name.empty()) return std::string();
      return absl::StrCat(Number(ratio), " of ", Number(value), " ", name);
    };
    out << Line(row, against(row.limit, row.limit_value, row.ratio),
                against(row.peer, row.peer_value, row.peer_ratio));
  }
}

void PrintJson(const std::vector<Row>& rows, std::ostream& out) {
  out << "[";
  for (const Row& row : rows) {
    const bool peer = !row.peer.empty();
    out << (&row == rows.data() ? "\n" : ",\n") << "  {\"work\": " << Quoted(row.work)
        << ", \"unit\": " << Quoted(row.unit) << ", \"value\": " << Number(row.value)
        << ", \"limit\": " << Quoted(row.limit) << ", \"limit_value\": " << Number(row.limit_value)
        << ", \"ratio\": " << Number(row.ratio)
        << ", \"peer\": " << (peer ? Quoted(row.peer) : "null")
        << ", \"peer_value\": " << (peer ? Number(row.peer_value) : "null")
        << ", \"peer_ratio\": " << (peer ? Number(row.peer_ratio) : "null")
        << ", \"note\": " << Quoted(row.note) << "}";
  }
  out << "\n]\n";
}

}  // namespace lossd::bench
