// Where a text may be in a grammar: sets of positions, each a state with the calls it came through, made when they are
// first reached and then remembered with their steps. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/automaton.h"

namespace moxie::grammar {

using SetId = uint32_t;

class StateSets {
 public:
  // A state, and the frame to return to when its rule is done. Frames are linked lists that share their tails.
  struct Position {
    uint32_t state;
    uint32_t frame;
    bool operator==(const Position&) const = default;
    auto operator<=>(const Position&) const = default;
  };
  static constexpr SetId kDead = 0;  // no position: the text is wrong
  static constexpr uint32_t kBottom = 0;

  explicit StateSets(const Automaton& automaton);  // which outlives this

  // The positions before any text.
  SetId start();
  // The one position `state` with nothing known of its callers; calls that it could make are left out.
  SetId only(uint32_t state);
  SetId step(SetId set, uint8_t byte);
  SetId step_token(SetId set, int32_t token);
  // Bytes and whole-token edges together.
  SetId accept(SetId set, std::span<const uint8_t> bytes, int32_t token);

  std::span<const Position> positions(SetId set) const {
    const Set& s = sets_[set];
    return {positions_.data() + s.begin, s.end - s.begin};
  }
  // The text may end here (start()), or the rule that only() began in (only()).
  bool ends(SetId set) const { return sets_[set].ends; }
  size_t bytes() const;  // memory in use, about
  // Takes a set of another StateSets over the same automaton.
  SetId adopt(const StateSets& from, SetId set);
  // Some way to read the text was given up: too many at once, or nested too deep.
  bool gave_up() const { return gave_up_; }

 private:
  struct Set {
    uint32_t begin, end;
    bool ends;
  };
  struct Frame {
    uint32_t return_state, parent, depth;
  };

  void add(uint32_t state, uint32_t frame);
  SetId finish();
  uint32_t push(uint32_t return_state, uint32_t parent);
  uint32_t* transition(uint64_t key);
  void grow();

  const Automaton* automaton_;
  std::vector<Set> sets_;
  std::vector<Position> positions_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, uint32_t> frame_ids_;
  std::unordered_multimap<uint64_t, SetId> set_ids_;
  // Steps, by set and byte: an open table, since most sets take few bytes.
  std::vector<std::pair<uint64_t, uint32_t>> steps_;
  size_t step_count_ = 0;
  // Of the set that is being made.
  std::vector<Position> stack_, found_, seen_;
  bool ends_ = false;
  bool gave_up_ = false;
};

}  // namespace moxie::grammar
