#include "server/logging/logger.h"

#include <cmath>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr char kTime[] = "2026-01-02T03:04:05.678Z";

TEST(FormatLogLine, Text) {
  EXPECT_EQ(
      FormatLogLine(
          LogFormat::kText, kTime, LogLevel::kWarning, "call failed",
          {{"method", "Evaluate"}, {"field", ""}, {"message", "a \"b\"\n"}, {"n", int64_t{3}}}),
      "2026-01-02T03:04:05.678Z warning call failed method=Evaluate field=\"\" message=\"a "
      "\\\"b\\\"\\u000a\" "
      "n=3");
}

TEST(FormatLogLine, Json) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, "listening",
                    {{"path", "C:\\x\ttab"}, {"n", int64_t{-1}}, {"seconds", 0.5}, {"bad", NAN}}),
      "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"info\",\"event\":\"listening\","
      "\"path\":\"C:\\\\x\\u0009tab\",\"n\":-1,\"seconds\":0.5,\"bad\":null}");
}

TEST(FormatLogLine, BytesThatAreNotUtf8AreReplaced) {
  const auto value = [](std::string_view text) {
    const std::string line =
        FormatLogLine(LogFormat::kJson, "", LogLevel::kInfo, "", {{"v", text}});
    return line.substr(line.find("\"v\":") + 4);
  };
  EXPECT_EQ(value("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}");
  EXPECT_EQ(value("a\xff"), "\"a\\ufffd\"}");
  EXPECT_EQ(value("\xc0\xaf"), "\"\\ufffd\\ufffd\"}");             // overlong
  EXPECT_EQ(value("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"}");  // surrogate
  EXPECT_EQ(value("\xe2\x82"), "\"\\ufffd\\ufffd\"}");             // cut
  EXPECT_EQ(value(std::string_view("\0\x7f", 2)), "\"\\u0000\\u007f\"}");
}

TEST(Logger, NamesOfLevelsAndFormats) {
  EXPECT_EQ(LogLevelByName("debug"), LogLevel::kDebug);
  EXPECT_EQ(LogLevelByName("info"), LogLevel::kInfo);
  EXPECT_EQ(LogLevelByName("warning"), LogLevel::kWarning);
  EXPECT_EQ(LogLevelByName("error"), LogLevel::kError);
  EXPECT_EQ(LogFormatByName("json"), LogFormat::kJson);
  EXPECT_EQ(LogFormatByName("text"), LogFormat::kText);
}

TEST(Logger, BelowItsLevelIsQuiet) {
  Logger logger(LogFormat::kText, LogLevel::kWarning);
  EXPECT_FALSE(logger.enabled(LogLevel::kInfo));
  testing::internal::CaptureStderr();
  logger.Log(LogLevel::kInfo, "quiet");
  logger.Log(LogLevel::kError, "loud {}", {{"key", "{value}"}});
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_EQ(written.find("quiet"), std::string::npos);
  EXPECT_NE(written.find("error loud {} key={value}\n"), std::string::npos);
}

}  // namespace
}  // namespace lossd
