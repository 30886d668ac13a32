// What is measured beside what, in alternating rounds, and the rows that come of it.
//
// Thread-safety: none. The machine's speed drifts from minute to minute, so the contenders of a row
// take turns, and ratios are of what ran side by side.
#ifndef LOSSD_TESTS_BENCH_SERVICE_ROWS_H_
#define LOSSD_TESTS_BENCH_SERVICE_ROWS_H_

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

namespace lossd::bench {

// One line of the report.
struct Row {
  std::string work;
  std::string unit;
  double value = 0;  // lossd
  std::string limit = "";
  double limit_value = 0;
  double ratio = 0;       // value to limit
  std::string peer = "";  // empty: none
  double peer_value = 0;
  double peer_ratio = 0;  // value to peer
  std::string note = "";
};

struct Contender {
  enum Role { kLossd, kLimit, kPeer };
  Role role;
  std::string name;
  std::function<double()> measure;
};

// Measures the contenders in turn, `rounds` times after one to warm up, and gives medians. The
// limit and the peer of the row are the fastest ones; the others go to the note.
Row Compare(const std::string& work, const std::string& unit, int rounds,
            const std::vector<Contender>& contenders);

void PrintTable(const std::vector<Row>& rows, std::ostream& out);
// A list of objects with the members of Row; those of an absent peer are null.
void PrintJson(const std::vector<Row>& rows, std::ostream& out);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_SERVICE_ROWS_H_
