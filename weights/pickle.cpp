#include "weights/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "kernels/launch/check.h"
#include "weights/pickle_globals.h"
#include "weights/pickle_input.h"

namespace frcnn::pickle {
namespace {

constexpr size_t kMostItems = 8 * kMostValues;
constexpr size_t kMostText = size_t{256} << 20;

/// The stack machine.
class Machine {
 public:
  Machine(const Refill& refill, const std::string& where) : in_(refill, where), where_(where) {}

  Document run() {
    while (!step(in_.byte())) {
    }
    document_.root = pop();
    document_.bytes = in_.taken();
    return std::move(document_);
  }

 private:
  /// One instruction; true for the last.
  bool step(uint8_t code);
  bool step_scalar(uint8_t code);
  bool step_container(uint8_t code);
  bool step_memo(uint8_t code);
  void step_call(uint8_t code);

  Id make(Value value) {
    check(document_.values.size() < kMostValues,
          "{}: the pickle makes more than {} values; a file of weights has a few thousand", where_,
          kMostValues);
    count(value.items.size(), value.text.size());
    document_.values.push_back(std::move(value));
    return static_cast<Id>(document_.values.size() - 1);
  }
  /// Values may be copied and repeated by short instructions: what they hold is limited in all.
  void count(size_t items, size_t text) {
    items_ += items;
    text_ += text;
    check(
        items_ <= kMostItems && text_ <= kMostText,
        "{}: the pickle holds more than {} items or {} bytes of text; a file of weights has a few "
        "thousand",
        where_, kMostItems, kMostText);
  }
  void push(Id id) {
    check(stack_.size() < kMostValues, "{}: the pickle's stack grows beyond {} values", where_,
          kMostValues);
    stack_.push_back(id);
  }
  void push_new(Value value) { push(make(std::move(value))); }
  void push_integer(int64_t value) { push_new({.kind = Kind::integer, .integer = value}); }
  void push_text(Kind kind, std::string text) { push_new({.kind = kind, .text = std::move(text)}); }
  void push_items(Kind kind, std::vector<Id> items) {
    push_new({.kind = kind, .items = std::move(items)});
  }
  void push_decimal(const std::string& line);
  void push_long(std::string bytes);

  /// The lowest place of the stack that instructions may take from: below it a mark stands.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Id pop() {
    check(stack_.size() > floor(), "{}: malformed pickle at byte {}: nothing is left on its stack",
          where_, in_.taken());
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id peek() {
    const Id id = pop();
    stack_.push_back(id);
    return id;
  }
  std::vector<Id> pop_many(size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  /// What was pushed since the last mark.
  std::vector<Id> pop_to_mark() {
    check(!marks_.empty(), "{}: malformed pickle at byte {}: there is no mark", where_,
          in_.taken());
    std::vector<Id> items(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void extend(std::initializer_list<Kind> kinds, const std::vector<Id>& items);
  void extend_dict(const std::vector<Id>& items);

  void memoise(uint64_t index) {
    check(memo_.size() < kMostValues, "{}: the pickle remembers more than {} values", where_,
          kMostValues);
    memo_[index] = peek();
  }
  void recall(uint64_t index) {
    const auto at = memo_.find(index);
    check(at != memo_.end(), "{}: malformed pickle at byte {}: memo {} is empty", where_,
          in_.taken(), index);
    push(at->second);
  }
  uint64_t index_in_line();
  [[noreturn]] void malformed(const std::string& what) {
    fail("{}: malformed pickle at byte {}: {}", where_, in_.taken(), what);
  }

  Input in_;
  const std::string& where_;
  Document document_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Id> memo_;
  size_t items_ = 0, text_ = 0;
};

uint64_t Machine::index_in_line() {
  const std::string line = in_.line();
  uint64_t index = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), index);
  if (error != std::errc() || end != line.data() + line.size()) malformed("a memo's number");
  return index;
}

void Machine::push_decimal(const std::string& line) {
  if (line == "00" || line == "01")  // False and True of protocol 0
    return push_new({.kind = Kind::boolean, .integer = line == "01"});
  const char* end = line.data() + line.size();
  if (line.ends_with('L')) --end;
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(line.data(), end, value);
  if (error != std::errc() || stop != end) malformed("an integer that fits 64 bits is expected");
  push_integer(value);
}

void Machine::push_long(std::string bytes) {
  if (bytes.size() > 8) return push_text(Kind::big_integer, std::move(bytes));
  // Two's complement: the sign of the last byte fills what is missing.
  uint64_t value = !bytes.empty() && static_cast<int8_t>(bytes.back()) < 0 ? ~uint64_t{0} : 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  push_integer(static_cast<int64_t>(value));
}

void Machine::extend(std::initializer_list<Kind> kinds, const std::vector<Id>& items) {
  Value& value = document_.values[peek()];
  if (std::find(kinds.begin(), kinds.end(), value.kind) == kinds.end())
    malformed("items are added to what takes none");
  count(items.size(), 0);
  value.items.insert(value.items.end(), items.begin(), items.end());
}

void Machine::extend_dict(const std::vector<Id>& items) {
  if (items.size() % 2 != 0) malformed("a key without a value");
  extend({Kind::dict}, items);
}

/// Numbers, texts, constants.
bool Machine::step_scalar(uint8_t code) {
  switch (code) {
    case 'N':
      push_new({});
      break;
    case 0x88:  // NEWTRUE
    case 0x89:
      push_new({.kind = Kind::boolean, .integer = code == 0x88});
      break;
    case 'I':
    case 'L':
      push_decimal(in_.line());
      break;
    case 'J':
      push_integer(static_cast<int32_t>(in_.number<4>()));
      break;
    case 'K':
      push_integer(static_cast<int64_t>(in_.number<1>()));
      break;
    case 'M':
      push_integer(static_cast<int64_t>(in_.number<2>()));
      break;
    case 0x8A:  // LONG1
      push_long(in_.bytes(in_.number<1>()));
      break;
    case 0x8B:  // LONG4
      push_long(in_.bytes(in_.number<4>()));
      break;
    case 'F': {
      const std::string line = in_.line();
      double value = 0;
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
      if (error != std::errc() || end != line.data() + line.size()) malformed("a number");
      push_new({.kind = Kind::real, .real = value});
      break;
    }
    case 'G': {  // big-endian
      uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) bits = bits << 8 | in_.byte();
      push_new({.kind = Kind::real, .real = std::bit_cast<double>(bits)});
      break;
    }
    case 'S': {
      const std::string line = in_.line();
      if (line.size() < 2 || line.front() != line.back() || line.find('\\') != std::string::npos)
        malformed("a quoted text without escapes is expected");
      push_text(Kind::text, line.substr(1, line.size() - 2));
      break;
    }
    case 'V': {
      std::string line = in_.line();
      if (line.find('\\') != std::string::npos) malformed("a text without escapes is expected");
      push_text(Kind::text, std::move(line));
      break;
    }
    case 'U':
    case 0x8C:  // SHORT_BINUNICODE
      push_text(Kind::text, in_.bytes(in_.number<1>()));
      break;
    case 'T':
    case 'X':
      push_text(Kind::text, in_.bytes(in_.number<4>()));
      break;
    case 0x8D:  // BINUNICODE8
      push_text(Kind::text, in_.bytes(in_.number<8>()));
      break;
    case 'C':
      push_text(Kind::bytes, in_.bytes(in_.number<1>()));
      break;
    case 'B':
      push_text(Kind::bytes, in_.bytes(in_.number<4>()));
      break;
    case 0x8E:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      push_text(Kind::bytes, in_.bytes(in_.number<8>()));
      break;
    default:
      return false;
  }
  return true;
}

/// Tuples, lists, dicts, sets.
bool Machine::step_container(uint8_t code) {
  switch (code) {
    case ')':
      push_items(Kind::tuple, {});
      break;
    case ']':
      push_items(Kind::list, {});
      break;
    case '}':
      push_items(Kind::dict, {});
      break;
    case 0x8F:  // EMPTY_SET
      push_items(Kind::set, {});
      break;
    case 't':
      push_items(Kind::tuple, pop_to_mark());
      break;
    case 'l':
      push_items(Kind::list, pop_to_mark());
      break;
    case 0x91:  // FROZENSET
      push_items(Kind::set, pop_to_mark());
      break;
    case 0x85:  // TUPLE1, TUPLE2, TUPLE3
    case 0x86:
    case 0x87:
      push_items(Kind::tuple, pop_many(code - 0x84u));
      break;
    case 'd': {
      const std::vector<Id> items = pop_to_mark();
      push_items(Kind::dict, {});
      extend_dict(items);
      break;
    }
    case 'a': {
      const Id item = pop();
      extend({Kind::list}, {item});
      break;
    }
    case 'e': {
      const std::vector<Id> items = pop_to_mark();
      extend({Kind::list}, items);
      break;
    }
    case 0x90: {  // ADDITEMS
      const std::vector<Id> items = pop_to_mark();
      extend({Kind::set}, items);
      break;
    }
    case 's': {
      const std::vector<Id> items = pop_many(2);
      extend_dict(items);
      break;
    }
    case 'u': {
      const std::vector<Id> items = pop_to_mark();
      extend_dict(items);
      break;
    }
    default:
      return false;
  }
  return true;
}

/// The stack itself and the memo, which keeps values for later use.
bool Machine::step_memo(uint8_t code) {
  switch (code) {
    case '(':
      check(marks_.size() < kMostValues, "{}: too many marks in the pickle", where_);
      marks_.push_back(stack_.size());
      break;
    case '0':
      // POP takes the mark itself when nothing lies above it.
      if (!marks_.empty() && marks_.back() == stack_.size())
        marks_.pop_back();
      else
        pop();
      break;
    case '1':
      pop_to_mark();
      break;
    case '2':
      push(peek());
      break;
    case 'p':
      memoise(index_in_line());
      break;
    case 'q':
      memoise(in_.number<1>());
      break;
    case 'r':
      memoise(in_.number<4>());
      break;
    case 0x94:  // MEMOIZE
      memoise(memo_.size());
      break;
    case 'g':
      recall(index_in_line());
      break;
    case 'h':
      recall(in_.number<1>());
      break;
    case 'j':
      recall(in_.number<4>());
      break;
    default:
      return false;
  }
  return true;
}

/// What would call functions of Python.
void Machine::step_call(uint8_t code) {
  Globals globals(document_, where_);
  switch (code) {
    case 'c': {
      const std::string module = in_.line();
      return push_new(globals.named(module, in_.line()));
    }
    case 0x93: {  // STACK_GLOBAL
      const std::vector<Id> names = pop_many(2);
      const Value &module = document_[names[0]], &name = document_[names[1]];
      if (module.kind != Kind::text || name.kind != Kind::text) malformed("a global's name");
      return push_new(globals.named(module.text, name.text));
    }
    case 'R':
    case 0x81: {  // NEWOBJ
      const std::vector<Id> call = pop_many(2);
      return push_new(globals.call(call[0], call[1]));
    }
    case 'b': {
      // Attributes of an object: state_dict() leaves its version numbers on its OrderedDict.
      pop();
      if (document_[peek()].kind != Kind::dict && document_[peek()].kind != Kind::tensor)
        malformed("attributes of a value that has none");
      return;
    }
    case 'Q':
      return push_new(globals.persistent(pop()));
    case 'i': {
      const std::string module = in_.line();
      globals.refuse(module, in_.line());
    }
    default:
      malformed(fmt::format("instruction {:#04x} is not one that torch.save() writes", code));
  }
}

bool Machine::step(uint8_t code) {
  switch (code) {
    case '.':
      return true;
    case 0x80: {  // PROTO
      const uint8_t protocol = in_.byte();
      check(protocol <= 5, "{}: a pickle of protocol {}; known are 0 to 5", where_, protocol);
      return false;
    }
    case 0x95:  // FRAME
      in_.number<8>();
      return false;
    default:
      if (!step_scalar(code) && !step_container(code) && !step_memo(code)) step_call(code);
      return false;
  }
}

}  // namespace

Document parse(std::string_view pickle, const std::string& where) {
  return parse(
      [&](char* out, size_t most) {
        const size_t part = std::min(most, pickle.size());
        std::memcpy(out, pickle.data(), part);
        pickle.remove_prefix(part);
        return part;
      },
      where);
}

Document parse(const Refill& refill, const std::string& where) {
  return Machine(refill, where).run();
}

}  // namespace frcnn::pickle
