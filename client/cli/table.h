// Text in columns. A Table belongs to one thread and owns its text.
#ifndef LOSSD_CLIENT_CLI_TABLE_H_
#define LOSSD_CLIENT_CLI_TABLE_H_

#include <ostream>
#include <string>
#include <vector>

namespace lossd::cli {

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // One cell a column.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // Titles, then rows, columns two spaces apart.
  void Print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// The shortest decimal form that reads back as the same number; nan, inf, -inf.
std::string FormatNumber(double value);
std::string FormatNumber(float value);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_TABLE_H_
