#include "table.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lossd::cli {
namespace {

template <class Float>
std::string Format(Float value) {
  // The sign of a NaN says nothing and differs between processors.
  if (std::isnan(value)) return "nan";
  char text[64];
  // 300000 rather than 3e+05, where that is not long.
  const bool plain = std::abs(value) >= Float(1e-4) && std::abs(value) < Float(1e16);
  const std::to_chars_result end =
      plain ? std::to_chars(text, text + sizeof(text), value, std::chars_format::fixed)
            : std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

// Characters, not bytes, so that a label in UTF-8 keeps its column.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string FormatNumber(double value) { return Format(value); }
std::string FormatNumber(float value) { return Format(value); }

void Table::Print(std::ostream& out) const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(Width(column.title));
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  const auto print = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string padding(widths[i] - Width(cells[i]), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  print(titles);
  for (const auto& row : rows_) print(row);
}

}  // namespace lossd::cli
