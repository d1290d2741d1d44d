#include "weights/pickle.h"

#include "kernels/launch/check.h"
#include "tests/support/catch.h"

namespace frcnn {
namespace {

using pickle::Document;
using pickle::Kind;
using std::string_literals::operator""s;
using test::mentions;

Document parse(const std::string& bytes) {
  return pickle::parse(bytes, "file");
}

std::string refusal(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("numbers, texts and constants of a pickle", "[pickle]") {
  CHECK(parse("N.").top().kind == Kind::none);
  CHECK(parse("\x88."s).top().integer == 1);
  CHECK(parse("I01\n.").top().kind == Kind::boolean);
  CHECK(parse("I-12\n.").top().integer == -12);
  CHECK(parse("L123L\n.").top().integer == 123);
  CHECK(parse("J\xff\xff\xff\xff."s).top().integer == -1);
  CHECK(parse("K\xff."s).top().integer == 255);
  CHECK(parse("M\x01\x02."s).top().integer == 0x0201);
  CHECK(parse("\x8a\x00."s).top().integer == 0);
  CHECK(parse("\x8a\x02\x00\x80."s).top().integer == -32768);
  CHECK(parse("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."s).top().kind == Kind::big_integer);
  CHECK(parse("F-0.5\n.").top().real == -0.5);
  CHECK(parse("G\x3f\xf8\x00\x00\x00\x00\x00\x00."s).top().real == 1.5);
  CHECK(parse("S'abc'\n.").top().text == "abc");
  CHECK(parse("Vabc\n.").top().text == "abc");
  CHECK(parse("X\x03\x00\x00\x00"s + "abc.").top().text == "abc");
  CHECK(parse("\x8c\x03"s + "abc.").top().text == "abc");
  CHECK(parse("C\x02\x00\xff."s).top().text == "\x00\xff"s);
  CHECK(parse("C\x02\x00\xff."s).top().kind == Kind::bytes);
}

TEST_CASE("containers, marks and the memo of a pickle", "[pickle]") {
  const auto list = parse("](K\x01K\x02"s + "eK\x03" + "a.");
  REQUIRE(list.top().items.size() == 3);
  CHECK(list[list.top().items[2]].integer == 3);
  CHECK(parse("(K\x01K\x02t."s).top().items.size() == 2);
  CHECK(parse("K\x01K\x02\x86."s).top().kind == Kind::tuple);
  CHECK(parse("}(K\x01K\x02K\x03K\x04u."s).top().items.size() == 4);
  CHECK(parse("(K\x01K\x02"s + "d.").top().kind == Kind::dict);
  CHECK(parse("\x8f(K\x01\x90."s).top().items.size() == 1);
  const auto shared = parse("K\x07q\x05h\x05\x86."s);
  CHECK(shared.top().items[0] == shared.top().items[1]);
  CHECK(parse("(K\x01K\x02"s + "1K\x03.").top().integer == 3);
  CHECK(parse("K\x03(0."s).top().integer == 3);
  CHECK(parse("N."s + "trailing").bytes == 2);
}

TEST_CASE("OrderedDict, Size and device are made without calling anything", "[pickle]") {
  CHECK(parse("ccollections\nOrderedDict\n)R.").top().kind == Kind::dict);
  // An object's attributes, which state_dict() leaves on its dictionary, are dropped.
  CHECK(parse("ccollections\nOrderedDict\n)R}b.").top().kind == Kind::dict);
  // The settings that torchvision's training scripts save beside their weights: {"args":
  // Namespace}.
  const Document saved = parse("}Vargs\ncargparse\nNamespace\n)\x81}(Vlr\nK\x01ubs."s);
  CHECK(saved.top().kind == Kind::dict);
  CHECK(saved.top().items.size() == 2);
  CHECK(saved[saved.top().items[1]].items.empty());
  CHECK(parse("ctorch\nSize\n(K\x02K\x03t\x85R."s).top().items.size() == 2);
  CHECK(parse("ctorch\ndevice\nVcpu\n\x85R."s).top().text == "cpu");
}

TEST_CASE("every way to reach another function is refused by its name", "[pickle]") {
  for (const std::string& pickle :
       {"cos\nsystem\n(Vls\ntR."s, "Vos\nVsystem\n\x93(Vls\ntR."s, "(Vls\nios\nsystem\n."s,
        "cos\nsystem\n)\x81."s, "cos\nsystem\n."s})
    CHECK_THAT(refusal(pickle), mentions("\"os.system\"") && mentions("nothing was run"));
  // Attributes of allowed modules are other names.
  CHECK_THAT(refusal("ctorch\nload\n."), mentions("torch.load"));
  CHECK_THAT(refusal("cbuiltins\ngetattr\n."), mentions("builtins.getattr"));
  // Control characters of a name do not reach the terminal.
  CHECK_THAT(refusal("cos\n\x1b[2J\n."s), mentions("os.?[2J"));
  // The copyreg extension registry and out-of-band buffers.
  CHECK_THAT(refusal("\x82\x01."s), mentions("0x82"));
  CHECK_THAT(refusal("\x97."s), mentions("0x97"));
  // A known name is no function; a function's result is no function either.
  CHECK_THAT(refusal("ctorch\nfloat32\n)R."), mentions("no function"));
  CHECK_THAT(refusal("ccollections\nOrderedDict\n)R)R."), mentions("no function"));
}

TEST_CASE("a malformed pickle is refused", "[pickle]") {
  CHECK_THAT(refusal(""), mentions("cut short"));
  CHECK_THAT(refusal("X\xff\xff\xff\x7f"s + "abc"), mentions("cut short after 8 bytes"));
  CHECK_THAT(refusal("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"s + "abc"), mentions("cut short"));
  CHECK_THAT(refusal("."), mentions("nothing is left"));
  CHECK_THAT(refusal("K\x01(\x86."s), mentions("nothing is left"));
  CHECK_THAT(refusal("t."), mentions("no mark"));
  CHECK_THAT(refusal("h\x01."s), mentions("memo 1 is empty"));
  CHECK_THAT(refusal("K\x01K\x02"s + "a."), mentions("takes none"));
  CHECK_THAT(refusal("}(K\x01u."s), mentions("key without a value"));
  CHECK_THAT(refusal("K\x01)b."s), mentions("attributes"));
  CHECK_THAT(refusal("\x80\x06N."s), mentions("protocol 6"));
  CHECK_THAT(refusal("I99999999999999999999\n."), mentions("64 bits"));
  CHECK_THAT(refusal("(Vstorage\nK\x01tQ."s), mentions("wrong type"));
  CHECK_THAT(refusal("(Vmodule\ntQ."), mentions("whole model"));
  CHECK_THAT(refusal("ctorch._utils\n_rebuild_tensor_v2\n)R."), mentions("arguments"));
}

TEST_CASE("a pickle cannot fill the memory", "[pickle]") {
  CHECK_THAT(refusal(std::string(3 << 20, 'N')), mentions("more than"));
  CHECK_THAT(refusal(std::string(3 << 20, '(')), mentions("marks"));
  CHECK_THAT(refusal("N" + std::string(3 << 20, '2')), mentions("stack"));
  // A set made of a long list, again and again.
  std::string sets = "](";
  for (int i = 0; i < 100000; ++i) sets += "N";
  sets += "e\x85q\x01"s;
  for (int i = 0; i < 10000; ++i) sets += "0cbuiltins\nset\nh\x01R"s;
  CHECK_THAT(refusal(sets), mentions("items"));
}

}  // namespace
}  // namespace frcnn
