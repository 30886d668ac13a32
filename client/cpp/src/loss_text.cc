// The text is cut into tokens, what is short is written out in full, and protobuf's parser does the
// rest. Every token goes to the parser on a line of its own, so the line of an error names the
// token and thereby the place.
#include "lossd/loss_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/text_format.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::Tokenizer;

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kAliases = {{
    {"l1", "mae"},
    {"l2", "mse"},
    {"mbe", "mean_bias"},
    {"bce", "binary_cross_entropy"},
    {"ce", "cross_entropy"},
    {"nll", "cross_entropy"},
    {"kl", "kl_divergence"},
    {"pinball", "quantile"},
    {"sphereface", "a_softmax"},
    {"lmcl", "cosface"},
    {"aam_softmax", "arcface"},
    {"f1_loss", "dice"},
}};

struct Place {
  size_t offset = 0;
  std::string message;
};

// The first error that a tokenizer or a parser reports; `line` of the parser is the number of a
// token.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (message_.has_value()) return;
    line_ = line;
    column_ = column;
    message_ = message;
  }
  const std::optional<std::string>& message() const { return message_; }
  int line() const { return line_; }
  int column() const { return column_; }

 private:
  std::optional<std::string> message_;
  int line_ = 0;
  int column_ = 0;
};

struct Token {
  std::string text;
  size_t offset = 0;  // in the caller's text
  bool word = false;
  bool string = false;
};

// Writes the tokens out in full. One object a text.
class Expander {
 public:
  Expander(std::vector<Token> tokens, size_t end) : tokens_(std::move(tokens)), end_(end) {}

  // False: place() says what is wrong.
  bool Expand() {
    while (next_ < tokens_.size()) {
      if (!Field(v1::Loss::descriptor(), 0)) return false;
    }
    if (!named_) return Fail(end_, "no loss is named: give one, such as mse {}");
    if (nll_ && !log_probs_bound_) {
      for (const char* text :
           {"inputs", "{", "key", ":", "\"log_probs\"", "value", ":", "\"log_probs\"", "}"}) {
        Emit(text, end_);
      }
    }
    return true;
  }

  const std::string& text() const { return out_; }
  // Of the token that a line of text() holds.
  size_t OffsetOf(int line) const {
    return line >= 0 && static_cast<size_t>(line) < offsets_.size()
               ? offsets_[static_cast<size_t>(line)]
               : end_;
  }
  const Place& place() const { return place_; }

 private:
  bool Fail(size_t offset, std::string message) {
    place_ = {offset, std::move(message)};
    return false;
  }

  void Emit(std::string_view text, size_t offset) {
    out_.append(text);
    out_.push_back('\n');
    offsets_.push_back(offset);
  }

  bool At(std::string_view text) const {
    return next_ < tokens_.size() && tokens_[next_].text == text;
  }
  void Pass() {
    Emit(tokens_[next_].text, tokens_[next_].offset);
    ++next_;
  }

  // One field with its value, and what may separate it from the next.
  bool Field(const Descriptor* message, int depth) {
    const Token name = tokens_[next_];
    if (!name.word) return Fail(name.offset, absl::StrCat("expected a name, got ", name.text));
    const std::string loss(LossName(name.text));
    const FieldDescriptor* field = message->FindFieldByName(depth == 0 ? loss : name.text);
    if (field == nullptr && depth == 0) {
      return Fail(name.offset,
                  absl::StrCat("unknown loss ", name.text, " (lossctl list shows them all)"));
    }
    if (field == nullptr) {
      return Fail(name.offset, absl::StrCat(absl::AsciiStrToLower(message->name()),
                                            " has no parameter ", name.text));
    }
    ++next_;
    Emit(field->name(), name.offset);
    const bool kind = depth == 0 && field->real_containing_oneof() != nullptr;
    if (kind && named_) return Fail(name.offset, absl::StrCat("a second loss: ", name.text));
    if (kind) {
      named_ = true;
      nll_ = name.text == "nll";
    }
    const bool colon = At(":");
    if (colon) Pass();
    if (field->is_map()) {
      if (!Map(name)) return false;
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!Message(field, name, kind && !colon, depth)) return false;
    } else if (!Scalar(field, name)) {
      return false;
    }
    while (At(",") || At(";")) ++next_;
    return true;
  }

  bool Message(const FieldDescriptor* field, const Token& name, bool may_be_bare, int depth) {
    if (may_be_bare && !At("{")) {
      Emit("{", name.offset);
      Emit("}", name.offset);
      return true;
    }
    if (!At("{")) return Fail(Here(), absl::StrCat("expected { after ", name.text));
    Pass();
    while (!At("}")) {
      if (next_ == tokens_.size()) return Fail(end_, "expected }");
      if (!Field(field->message_type(), depth + 1)) return false;
    }
    Pass();
    return true;
  }

  // Short: { role: tensor ... }. Protobuf's own { key: ... value: ... } has a role neither of these
  // names.
  bool Map(const Token& name) {
    if (!At("{")) return Fail(Here(), absl::StrCat("expected { after ", name.text));
    if (next_ + 1 < tokens_.size() && tokens_[next_ + 1].text == "key") {
      while (!At("}")) {
        if (next_ == tokens_.size()) return Fail(end_, "expected }");
        log_probs_bound_ = log_probs_bound_ || At("\"log_probs\"") || At("'log_probs'");
        Pass();
      }
      Pass();
      return true;
    }
    const size_t open = tokens_[next_].offset;
    ++next_;
    bool first = true;
    while (!At("}")) {
      if (next_ == tokens_.size()) return Fail(end_, "expected }");
      const Token role = tokens_[next_++];
      if (!role.word) return Fail(role.offset, "expected the name of an input of the loss");
      if (!At(":")) return Fail(Here(), absl::StrCat("expected : after ", role.text));
      ++next_;
      if (next_ == tokens_.size()) return Fail(end_, "expected the name of a tensor");
      const Token tensor = tokens_[next_++];
      if (!tensor.word && !tensor.string)
        return Fail(tensor.offset, "expected the name of a tensor");
      if (!first) Emit("inputs", role.offset);
      first = false;
      Emit("{", role.offset);
      Emit("key", role.offset);
      Emit(":", role.offset);
      Emit(absl::StrCat("\"", role.text, "\""), role.offset);
      Emit("value", tensor.offset);
      Emit(":", tensor.offset);
      Emit(tensor.string ? tensor.text : absl::StrCat("\"", tensor.text, "\""), tensor.offset);
      Emit("}", tensor.offset);
      while (At(",") || At(";")) ++next_;
      log_probs_bound_ = log_probs_bound_ || role.text == "log_probs";
    }
    ++next_;
    if (first) return Fail(open, "no input is named");
    return true;
  }

  bool Scalar(const FieldDescriptor* field, const Token& name) {
    if (next_ == tokens_.size())
      return Fail(end_, absl::StrCat("expected a value for ", name.text));
    if (At("}")) return Fail(Here(), absl::StrCat("expected a value for ", name.text));
    const bool minus = At("-");
    if (minus) Pass();
    if (next_ == tokens_.size())
      return Fail(end_, absl::StrCat("expected a value for ", name.text));
    const Token& value = tokens_[next_];
    if (minus || !value.word) {
      Pass();
      return true;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      Emit(absl::StrCat("\"", value.text, "\""), value.offset);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      return EnumValue(field, value);
    } else {
      Emit(value.text, value.offset);
    }
    ++next_;
    return true;
  }

  bool EnumValue(const FieldDescriptor* field, const Token& value) {
    // buf's STANDARD lint makes the prefix of UNIT_BITS from the name of the enum, Unit.
    std::string prefix;
    for (const char letter : field->enum_type()->name()) {
      if (absl::ascii_isupper(static_cast<unsigned char>(letter)) && !prefix.empty())
        prefix.push_back('_');
      prefix.push_back(absl::ascii_toupper(static_cast<unsigned char>(letter)));
    }
    prefix.push_back('_');
    const std::string full = absl::StrCat(prefix, value.text);
    if (field->enum_type()->FindValueByName(value.text) != nullptr) {
      Emit(value.text, value.offset);
    } else if (field->enum_type()->FindValueByName(full) != nullptr) {
      Emit(full, value.offset);
    } else {
      std::string known;
      for (int i = 1; i < field->enum_type()->value_count(); ++i) {
        absl::StrAppend(&known, i > 1 ? " or " : "",
                        field->enum_type()->value(i)->name().substr(prefix.size()));
      }
      return Fail(value.offset,
                  absl::StrCat(field->name(), " has no value ", value.text, ": it is ", known));
    }
    ++next_;
    return true;
  }

  size_t Here() const { return next_ < tokens_.size() ? tokens_[next_].offset : end_; }

  const std::vector<Token> tokens_;
  const size_t end_;
  size_t next_ = 0;
  bool named_ = false;
  bool nll_ = false;  // named by that alias
  bool log_probs_bound_ = false;
  std::string out_;
  std::vector<size_t> offsets_;
  Place place_;
};

absl::Status Error(std::string_view text, const Place& place) {
  // One line of text: a caret counts columns.
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  return InvalidArgument(
      "LOSS_TEXT", "",
      absl::StrCat(place.message, "\n  ", line, "\n  ", std::string(place.offset, ' '), "^"));
}

}  // namespace

std::string_view LossName(std::string_view name) {
  for (const auto& [alias, loss] : kAliases) {
    if (alias == name) return loss;
  }
  return name;
}

absl::StatusOr<v1::Loss> ParseLoss(std::string_view text) {
  // On one line, the column of a token is its offset.
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  google::protobuf::io::ArrayInputStream stream(line.data(), static_cast<int>(line.size()));
  FirstError lexical;
  Tokenizer tokenizer(&stream, &lexical);
  tokenizer.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
  tokenizer.set_allow_f_after_float(true);
  std::vector<Token> tokens;
  while (tokenizer.Next()) {
    const Tokenizer::Token& token = tokenizer.current();
    tokens.push_back({token.text, static_cast<size_t>(token.column),
                      token.type == Tokenizer::TYPE_IDENTIFIER,
                      token.type == Tokenizer::TYPE_STRING});
  }
  if (lexical.message().has_value()) {
    return Error(line, {static_cast<size_t>(lexical.column()), *lexical.message()});
  }
  Expander expander(std::move(tokens), line.size());
  if (!expander.Expand()) return Error(line, expander.place());

  FirstError syntax;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&syntax);
  v1::Loss loss;
  if (!parser.ParseFromString(expander.text(), &loss)) {
    return Error(line, {expander.OffsetOf(syntax.line()), syntax.message().value_or("malformed")});
  }
  return loss;
}

}  // namespace lossd
