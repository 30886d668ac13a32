#include "server/config/parse_options.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/option_table.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A configuration file for the time of a test.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text)
      : path_(testing::TempDir() + "/lossd_config_" + std::to_string(getpid()) + ".ini") {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

ServerOptions MustParse(const std::vector<std::string>& arguments,
                        const Environment& environment = {}) {
  const ParsedOptions parsed = ParseOptions(arguments, environment);
  EXPECT_TRUE(parsed.options.has_value()) << parsed.output;
  return parsed.options.value_or(ServerOptions());
}

std::string MustRefuse(const std::vector<std::string>& arguments,
                       const Environment& environment = {}) {
  const ParsedOptions parsed = ParseOptions(arguments, environment);
  EXPECT_FALSE(parsed.options.has_value());
  EXPECT_EQ(parsed.exit_code, 2);
  return parsed.output;
}

TEST(OptionTable, NamesAndHelpAreThereOnce) {
  std::set<std::string_view> flags;
  for (const OptionRow& row : OptionTable()) {
    EXPECT_TRUE(flags.insert(row.flag).second) << row.flag;
    EXPECT_FALSE(row.help.empty()) << row.flag;
  }
}

TEST(OptionTable, DefaultsAreWithinTheirBounds) {
  const ServerOptions defaults;
  for (const OptionRow& row : OptionTable()) {
    ServerOptions options;
    EXPECT_TRUE(SetOption(row, {OptionText(row, defaults)}, &options).ok()) << row.flag;
  }
  EXPECT_TRUE(CheckOptions(defaults).ok());
}

TEST(OptionTable, EveryRowCanBeSetByFlagVariableAndFile) {
  for (const OptionRow& row : OptionTable()) {
    std::string value = "12345678";  // fits each count and byte row but the small ones
    if (row.kind == OptionKind::kChoice)
      value = std::string(row.choices.substr(0, row.choices.find('|')));
    if (row.kind == OptionKind::kSeconds) value = "7.5";
    if (row.kind == OptionKind::kCount) value = "3";
    const std::string flag(row.flag);
    const ConfigFile file(flag + " = " + value + "\n");
    // Some values contradict the defaults of other options, which is found once all have been read.
    const auto reached = [&](const ParsedOptions& parsed) {
      if (parsed.options.has_value()) return OptionText(row, *parsed.options) == value;
      return parsed.output.find("--tls-") != std::string::npos ||
             parsed.output.find("is above --max-inflight-bytes") != std::string::npos;
    };
    EXPECT_TRUE(reached(ParseOptions({"--" + flag, value}, {}))) << flag;
    EXPECT_TRUE(reached(ParseOptions({"--" + flag + "=" + value}, {}))) << flag;
    EXPECT_TRUE(reached(ParseOptions({}, {{EnvironmentName(flag), value}}))) << flag;
    EXPECT_TRUE(reached(ParseOptions({"--config", file.path()}, {}))) << flag;
  }
}

TEST(ParseOptions, DefaultsWithoutArguments) {
  const ServerOptions options = MustParse({});
  EXPECT_THAT(options.listen, ElementsAre("127.0.0.1:50051"));
  EXPECT_EQ(options.metrics_listen, "127.0.0.1:9464");
  EXPECT_EQ(options.max_message_bytes, 16 << 20);
}

TEST(ParseOptions, FlagsBeforeVariablesBeforeFile) {
  const ConfigFile file("max-streams = 1\nthreads = 1\ndrain-seconds = 1\n");
  const Environment environment{{"LOSSD_THREADS", "2"}, {"LOSSD_MAX_STREAMS", "2"}};
  const ServerOptions options =
      MustParse({"--config", file.path(), "--max-streams", "3"}, environment);
  EXPECT_EQ(options.max_streams, 3);
  EXPECT_EQ(options.threads, 2);
  EXPECT_EQ(options.drain_seconds, 1);
}

TEST(ParseOptions, TheFileCanComeFromAVariable) {
  const ConfigFile file("max-streams = 5\n");
  EXPECT_EQ(MustParse({}, {{"LOSSD_CONFIG", file.path()}}).max_streams, 5);
}

TEST(ParseOptions, ListenRepeats) {
  EXPECT_THAT(MustParse({"--listen", "a:1", "--listen", "unix:/b"}).listen,
              ElementsAre("a:1", "unix:/b"));
  EXPECT_THAT(MustParse({}, {{"LOSSD_LISTEN", "a:1,unix:/b"}}).listen,
              ElementsAre("a:1", "unix:/b"));
  const ConfigFile file("listen = [\"a:1\", \"unix:/b\"]\n");
  EXPECT_THAT(MustParse({"--config", file.path()}).listen, ElementsAre("a:1", "unix:/b"));
  // A flag replaces the file's list, it does not add to it.
  EXPECT_THAT(MustParse({"--config", file.path(), "--listen", "c:2"}).listen, ElementsAre("c:2"));
}

TEST(ParseOptions, MetricsCanBeOff) {
  EXPECT_EQ(MustParse({"--metrics-listen="}).metrics_listen, "");
  EXPECT_EQ(MustParse({"--metrics-listen", ""}).metrics_listen, "");
  EXPECT_EQ(MustParse({"--metrics-listen", "off"}).metrics_listen, "");
}

TEST(ParseOptions, BytesTakeSuffixes) {
  EXPECT_EQ(MustParse({"--max-message-bytes", "64KiB"}).max_message_bytes, 64 << 10);
  EXPECT_EQ(MustParse({"--max-message-bytes", "3MiB"}).max_message_bytes, 3 << 20);
  EXPECT_EQ(MustParse({"--max-inflight-bytes", "2GiB"}).max_inflight_bytes, int64_t{2} << 30);
}

TEST(ParseOptions, WrongValuesNameTheirFlag) {
  for (const char* value :
       {"x", "", "1x", "-1", "1.5", "99999999999999999999", "9999999999GiB", "4 MiB"}) {
    EXPECT_THAT(MustRefuse({"--max-message-bytes", value}), HasSubstr("--max-message-bytes"))
        << value;
  }
  EXPECT_THAT(MustRefuse({"--max-streams", "0"}), HasSubstr("--max-streams"));
  EXPECT_THAT(MustRefuse({"--drain-seconds", "nan"}), HasSubstr("--drain-seconds"));
  EXPECT_THAT(MustRefuse({"--log-format", "xml"}), HasSubstr("text, json"));
  EXPECT_THAT(MustRefuse({}, {{"LOSSD_MAX_STREAMS", "many"}}), HasSubstr("--max-streams"));
}

TEST(ParseOptions, UnknownFlagsAndKeysAreRefused) {
  EXPECT_THAT(MustRefuse({"--max-streamz", "1"}), HasSubstr("--max-streamz"));
  EXPECT_THAT(MustRefuse({"stray"}), HasSubstr("stray"));
  const ConfigFile file("max-streamz = 1\n");
  EXPECT_THAT(MustRefuse({"--config", file.path()}), HasSubstr("'max-streamz'"));
  const ConfigFile section("[server]\nmax-streams = 1\n");
  EXPECT_THAT(MustRefuse({"--config", section.path()}), HasSubstr("server"));
  EXPECT_THAT(MustRefuse({"--config", "/nonexistent.ini"}), HasSubstr("/nonexistent.ini"));
}

TEST(ParseOptions, UnknownVariablesAreReported) {
  const Environment environment{{"LOSSD_MAX_STREAMZ", "1"},
                                {"LOSSD_TARGET", "avx2"},
                                {"LOSSD_SERVICE_HOST", "10.0.0.1"},
                                {"LOSSD_PORT_50051_TCP", "tcp://10.0.0.1:50051"},
                                {"LOSSD_THREADS", "1"}};
  EXPECT_THAT(ParseOptions({}, environment).unknown_variables, ElementsAre("LOSSD_MAX_STREAMZ"));
  EXPECT_THAT(ParseOptions({}, {}).unknown_variables, IsEmpty());
}

TEST(ParseOptions, ContradictionsAreRefused) {
  EXPECT_THAT(MustRefuse({"--tls-key", "k"}), HasSubstr("--tls-certificate"));
  EXPECT_THAT(MustRefuse({"--tls-client-ca", "c"}), HasSubstr("--tls-client-ca"));
  EXPECT_THAT(MustRefuse({"--max-inflight-bytes", "8MiB"}), HasSubstr("--max-message-bytes"));
  EXPECT_THAT(MustRefuse({"--max-constant-bytes", "1GiB"}), HasSubstr("--max-constant-bytes"));
}

TEST(ParseOptions, HelpAndVersionEndWell) {
  const ParsedOptions help = ParseOptions({"--help"}, {});
  EXPECT_FALSE(help.options.has_value());
  EXPECT_EQ(help.exit_code, 0);
  for (const OptionRow& row : OptionTable()) {
    EXPECT_THAT(help.output, HasSubstr("--" + std::string(row.flag)));
  }
  const ParsedOptions version = ParseOptions({"--version"}, {});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.output, HasSubstr("lossd "));
}

}  // namespace
}  // namespace lossd
