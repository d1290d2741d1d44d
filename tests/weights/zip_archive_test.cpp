#include "weights/zip_archive.h"

#include "tests/weights/weight_files.h"

namespace frcnn {
namespace {

using test::mentions;

std::string number(uint32_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

/// Fields of an entry as a zip file states them twice; what is not true can be stated too.
struct Stated {
  std::string name, content;
  uint32_t crc = 0, unpacked = 0;
  uint32_t flags = 0, method = 0;
};

std::string zip_of(const std::vector<Stated>& entries) {
  std::string out, directory;
  for (const Stated& e : entries) {
    const std::string common =
        number(20, 2) + number(e.flags, 2) + number(e.method, 2) + number(0, 4) + number(e.crc, 4) +
        number(static_cast<uint32_t>(e.content.size()), 4) + number(e.unpacked, 4) +
        number(static_cast<uint32_t>(e.name.size()), 2) + number(0, 2);
    directory += "PK\1\2" + number(20, 2) + common + std::string(10, '\0') +
                 number(static_cast<uint32_t>(out.size()), 4) + e.name;
    out += "PK\3\4" + common + e.name + e.content;
  }
  const auto count = static_cast<uint32_t>(entries.size());
  return out + directory + "PK\5\6" + number(0, 4) + number(count, 2) + number(count, 2) +
         number(static_cast<uint32_t>(directory.size()), 4) +
         number(static_cast<uint32_t>(out.size()), 4) + number(0, 2);
}

constexpr uint32_t kCrcOfAbc = 0x352441C2;

class Archive {
 public:
  explicit Archive(const std::vector<Stated>& entries) {
    test::write_bytes(file(), zip_of(entries));
  }
  std::filesystem::path file() const { return folder_.path() / "a.zip"; }
  std::string refusal() const {
    try {
      const ZipArchive archive(file());
      for (size_t i = 0; i < archive.entries().size(); ++i) archive.read(static_cast<int64_t>(i));
    } catch (const Error& error) {
      CHECK_THAT(error.what(), mentions("a.zip"));
      return error.what();
    }
    return "";
  }

 private:
  test::TempDir folder_;
};

TEST_CASE("entries of a zip archive are listed, found and read in parts", "[zip]") {
  const Archive made({{"x/abc", "abc", kCrcOfAbc, 3}, {"nothing", "", 0, 0}});
  const ZipArchive archive(made.file());
  REQUIRE(archive.entries().size() == 2);
  CHECK(archive.entries()[0].size == 3);
  CHECK(archive.find("x/abc") == 0);
  CHECK(archive.find("abc") == -1);
  CHECK(archive.read(0) == "abc");
  CHECK(archive.read(1).empty());
  ZipArchive::Reader reader(archive, 0);
  reader.skip(1);
  std::string part(2, '\0');
  reader.read(part.data(), 1);
  CHECK(part[0] == 'b');
  CHECK(reader.position() == 2);
  CHECK_THROWS_WITH(reader.read(part.data(), 2), mentions("3 in all"));
  CHECK_THROWS_AS(ZipArchive::Reader(archive, 2), Error);
}

TEST_CASE("hostile zip archives are refused", "[zip]") {
  CHECK(Archive({{"a", "abc", kCrcOfAbc, 3}}).refusal().empty());
  CHECK_THAT(Archive({{"a", "abd", kCrcOfAbc, 3}}).refusal(), mentions("CRC"));
  CHECK_THAT(Archive({{"a", "abc", kCrcOfAbc, 4}}).refusal(), mentions("unpacked"));
  CHECK_THAT(Archive({{"a", "abc", kCrcOfAbc, 3}, {"a", "abc", kCrcOfAbc, 3}}).refusal(),
             mentions("already exists"));
  CHECK_THAT(Archive({{"a", "abc", kCrcOfAbc, 3, 1}}).refusal(), mentions("encrypted"));
  CHECK_THAT(Archive({{"a", "abc", kCrcOfAbc, 3, 0, 12}}).refusal(), mentions("method 12"));
  // A bomb: 3 packed bytes that claim to be 4 GB.
  CHECK_THAT(Archive({{"a", "abc", kCrcOfAbc, 0xFFFFFFFE, 0, 8}}).refusal(),
             mentions("more than deflate can"));
  // Deflated data that is none, and a size that is too small for it.
  CHECK_FALSE(Archive({{"a", "abc", kCrcOfAbc, 3, 0, 8}}).refusal().empty());
  const std::string stored(
      "\x01\x03\x00\xfc\xff"
      "abc",
      8);
  CHECK(Archive({{"a", stored, kCrcOfAbc, 3, 0, 8}}).refusal().empty());
  CHECK_FALSE(Archive({{"a", stored, kCrcOfAbc, 2, 0, 8}}).refusal().empty());
  CHECK_FALSE(Archive({{"a", stored, kCrcOfAbc, 4, 0, 8}}).refusal().empty());
}

TEST_CASE("a zip archive that is cut short is refused at every length", "[zip]") {
  const std::string whole = zip_of({{"a", "abc", kCrcOfAbc, 3}, {"b", "abc", kCrcOfAbc, 3}});
  const test::TempDir folder;
  for (size_t size = 0; size < whole.size(); ++size) {
    test::write_bytes(folder.path() / "cut.zip", whole.substr(0, size));
    CHECK_THROWS_AS(ZipArchive(folder.path() / "cut.zip"), Error);
  }
  CHECK_THROWS_AS(ZipArchive(folder.path() / "absent.zip"), Error);
}

}  // namespace
}  // namespace frcnn
