// Files are written by hand, byte by byte, in the format's own terms.
#include "npy_file.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"

namespace lossd::cli {
namespace {

std::string Header(const std::string& dictionary, int version = 1) {
  std::string text = std::string("\x93NUMPY", 6) + static_cast<char>(version) + '\0';
  const size_t size = dictionary.size();
  text += static_cast<char>(size & 0xFF);
  text += static_cast<char>(size >> 8);
  if (version > 1) text += std::string(2, '\0');
  return text + dictionary;
}

std::string Dictionary(const std::string& descr, bool fortran, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

std::string Write(const std::string& bytes) {
  const std::string path = testing::TempDir() + "lossctl_test_" +
                           testing::UnitTest::GetInstance()->current_test_info()->name() + ".npy";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <class T>
std::vector<T> Elements(const TensorView& view) {
  std::vector<T> values(static_cast<size_t>(view.elements()));
  if (!values.empty())
    std::memcpy(values.data(), view.Run(0, view.elements(), nullptr), view.byte_size());
  return values;
}

TEST(NpyFile, GivesRowsInPlace) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto file =
      NpyFile::Open(Write(Header(Dictionary("<f4", false, "(3, 2)")) + Bytes(values)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->dtype(), DataType::kFloat32);
  EXPECT_EQ(file->shape(), Shape({3, 2}));
  EXPECT_EQ(file->row_bytes(), 8);
  std::vector<std::byte> scratch;
  EXPECT_EQ(Elements<float>(*file->All(&scratch)), values);
  const absl::StatusOr<TensorView> rows = file->Rows(1, 2, &scratch);
  EXPECT_EQ(rows->shape(), Shape({2, 2}));
  EXPECT_EQ(Elements<float>(*rows), std::vector<float>({3, 4, 5, 6}));
  EXPECT_TRUE(scratch.empty());
}

// Element [i,j,k] of shape [3,2,4] is 100 i + 10 j + k.
template <class T>
void CheckFortran(const std::string& descr) {
  std::vector<T> file_order, row_order;
  for (int k = 0; k < 4; ++k) {
    for (int j = 0; j < 2; ++j) {
      for (int i = 0; i < 3; ++i) file_order.push_back(static_cast<T>(100 * i + 10 * j + k));
    }
  }
  for (int i = 1; i < 3; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 4; ++k) row_order.push_back(static_cast<T>(100 * i + 10 * j + k));
    }
  }
  const auto file =
      NpyFile::Open(Write(Header(Dictionary(descr, true, "(3, 2, 4)")) + Bytes(file_order)));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::byte> scratch;
  EXPECT_EQ(Elements<T>(*file->Rows(1, 2, &scratch)), row_order) << descr;
  EXPECT_EQ(file->All(&scratch)->shape(), Shape({3, 2, 4}));
}

TEST(NpyFile, GathersRowsOfFortranOrder) {
  CheckFortran<uint8_t>("|u1");
  CheckFortran<uint16_t>("<f2");
  CheckFortran<float>("<f4");
  CheckFortran<double>("<f8");
}

TEST(NpyFile, KnowsTheTypesOfTheContract) {
  const std::vector<std::pair<std::string, DataType>> types = {
      {"<f4", DataType::kFloat32}, {"<f8", DataType::kFloat64}, {"<f2", DataType::kFloat16},
      {"<i4", DataType::kInt32},   {"<i8", DataType::kInt64},   {"|u1", DataType::kUint8},
      {"|b1", DataType::kBool}};
  for (const auto& [descr, type] : types) {
    const auto file = NpyFile::Open(
        Write(Header(Dictionary(descr, false, "(2,)")) + std::string(2 * ByteSize(type), '\0')));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->dtype(), type);
  }
}

TEST(NpyFile, ReadsEveryVersionAndShape) {
  for (const int version : {1, 2, 3}) {
    for (const auto& [text, shape] : std::vector<std::pair<std::string, Shape>>{
             {"()", {}}, {"(0,)", {0}}, {"(1, 0)", {1, 0}}, {"(2,)", {2}}, {"(1,2)", {1, 2}}}) {
      const std::vector<double> values(static_cast<size_t>(shape.elements()), 7);
      const auto file =
          NpyFile::Open(Write(Header(Dictionary("<f8", false, text), version) + Bytes(values)));
      ASSERT_TRUE(file.ok()) << file.status();
      EXPECT_EQ(file->shape(), shape);
      std::vector<std::byte> scratch;
      EXPECT_EQ(Elements<double>(*file->All(&scratch)), values);
    }
  }
}

TEST(NpyFile, SaysWhatIsWrong) {
  const std::string good = Header(Dictionary("<f4", false, "(2, 2)"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is empty"},
      {"1.0, 2.0, 3.0\n4.0, 5.0, 6.0\n", "is no .npy file"},
      {good.substr(0, 3), "is truncated"},
      {good.substr(0, 11), "is truncated"},
      {good.substr(0, good.size() - 1), "is truncated"},
      {good + std::string(15, 'x'), "is truncated: [2,2] of FLOAT32 is 16 bytes, and 15 are there"},
      {good + std::string(17, 'x'), "is longer than its header says"},
      {Header(Dictionary("<f4", false, "(2,)"), 9), "version 9"},
      {Header(Dictionary(">f4", false, "(2,)")), "type >f4, big-endian"},
      {Header(Dictionary("<c8", false, "(2,)")), "type <c8;"},
      {Header(Dictionary("|O", false, "(2,)")), "type |O;"},
      {Header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"),
       "holds records"},
      {Header("{'descr': '<f4', 'fortran_order': False}"), "no dictionary"},
      {Header(Dictionary("<f4", false, "(2, x)")), "no dictionary"},
      {Header(Dictionary("<f4", false, "(2")), "no dictionary"},
      {Header(Dictionary("<f4", false, "(-1,)")), "at least 0"},
      {Header(Dictionary("<f4", false, "(4611686018427387904, 4)")), "overflow"},
      {Header(Dictionary("<f4", false, "(1,1,1,1,1,1,1,1,1)")), "dimension"},
  };
  for (const auto& [bytes, message] : cases) {
    const std::string path = Write(bytes);
    const absl::Status status = NpyFile::Open(path).status();
    EXPECT_EQ(DetailOf(status).reason, "INPUT_FILE") << message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), testing::StartsWith(path));
  }
  EXPECT_THAT(std::string(NpyFile::Open("/no/such.npy").status().message()),
              testing::HasSubstr("No such file"));
  EXPECT_THAT(std::string(NpyFile::Open("/").status().message()),
              testing::HasSubstr("is no regular file"));
}

TEST(NpyFile, AnyHeaderIsAnErrorNotACrash) {
  const std::string good = Header(Dictionary("<f4", true, "(2, 2)")) + std::string(16, 'x');
  for (size_t i = 0; i < good.size() - 16; ++i) {
    for (const char byte : {'\0', '\'', '(', ')', '9', '\xFF'}) {
      std::string bad = good;
      bad[i] = byte;
      (void)NpyFile::Open(Write(bad));
    }
  }
}

}  // namespace
}  // namespace lossd::cli
