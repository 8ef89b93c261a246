#include "grammar/state_sets.h"

#include <algorithm>

#include "core/check.h"

namespace moxie::grammar {
namespace {

constexpr size_t kPositionsMax = 1024;    // ways to read a text that are followed at once
constexpr uint32_t kCallDepthMax = 2048;  // calls within calls
constexpr uint64_t kNoKey = ~uint64_t{0};

uint64_t mix(uint64_t value) {
  value ^= value >> 32;
  value *= 0xD6E8FEB86659FD93u;
  return value ^ (value >> 32);
}

}  // namespace

StateSets::StateSets(const Automaton& automaton) : automaton_(&automaton) {
  sets_.push_back({0, 0, false});
  frames_.push_back({0, 0, 0});
  steps_.assign(256, {kNoKey, 0});
}

uint32_t StateSets::push(uint32_t return_state, uint32_t parent) {
  const auto [known, is_new] =
      frame_ids_.try_emplace(uint64_t{return_state} << 32 | parent, static_cast<uint32_t>(frames_.size()));
  if (is_new) frames_.push_back({return_state, parent, frames_[parent].depth + 1});
  return known->second;
}

// Adds a position and all that are reached from it without text.
void StateSets::add(uint32_t state, uint32_t frame) {
  stack_.push_back({state, frame});
  while (!stack_.empty()) {
    const Position at = stack_.back();
    stack_.pop_back();
    if (std::find(seen_.begin(), seen_.end(), at) != seen_.end()) continue;
    if (seen_.size() >= kPositionsMax) {
      gave_up_ = true;
      stack_.clear();
      return;
    }
    seen_.push_back(at);
    const Automaton::State& s = automaton_->state(at.state);
    if (s.bytes_begin != s.bytes_end || s.tokens_begin != s.tokens_end) found_.push_back(at);
    if (s.accepting) {
      if (at.frame == kBottom) {
        ends_ = true;
      } else {
        stack_.push_back({frames_[at.frame].return_state, frames_[at.frame].parent});
      }
    }
    for (const CallEdge& edge : automaton_->call_edges(s)) {
      uint32_t back = at.frame;
      // Nothing is left to do after the call: return to the caller at once, so that right recursion needs no memory.
      if (!automaton_->state(edge.target).is_end()) {
        if (frames_[at.frame].depth >= kCallDepthMax) {
          gave_up_ = true;
          continue;
        }
        back = push(edge.target, at.frame);
      }
      stack_.push_back({automaton_->start(edge.rule), back});
    }
  }
}

SetId StateSets::finish() {
  std::sort(found_.begin(), found_.end());
  found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
  const bool ends = ends_;
  SetId id = kDead;
  if (ends || !found_.empty()) {
    uint64_t hash = ends ? 1 : 2;
    for (const Position& each : found_) hash = mix(hash ^ (uint64_t{each.state} << 32 | each.frame));
    const auto [first, last] = set_ids_.equal_range(hash);
    for (auto each = first; each != last && id == kDead; ++each) {
      const auto known = positions(each->second);
      if (sets_[each->second].ends == ends && std::equal(known.begin(), known.end(), found_.begin(), found_.end())) {
        id = each->second;
      }
    }
    if (id == kDead) {
      id = static_cast<SetId>(sets_.size());
      const uint32_t begin = static_cast<uint32_t>(positions_.size());
      positions_.insert(positions_.end(), found_.begin(), found_.end());
      sets_.push_back({begin, static_cast<uint32_t>(positions_.size()), ends});
      set_ids_.emplace(hash, id);
    }
  }
  found_.clear();
  seen_.clear();
  ends_ = false;
  return id;
}

SetId StateSets::start() {
  add(automaton_->root_start(), kBottom);
  return finish();
}

SetId StateSets::only(uint32_t state) {
  found_.push_back({state, kBottom});
  return finish();
}

uint32_t* StateSets::transition(uint64_t key) {
  const size_t mask = steps_.size() - 1;
  size_t at = mix(key) & mask;
  while (steps_[at].first != kNoKey && steps_[at].first != key) at = (at + 1) & mask;
  return steps_[at].first == key ? &steps_[at].second : nullptr;
}

void StateSets::grow() {
  std::vector<std::pair<uint64_t, uint32_t>> old(steps_.size() * 2, {kNoKey, 0});
  old.swap(steps_);
  const size_t mask = steps_.size() - 1;
  for (const auto& entry : old) {
    if (entry.first == kNoKey) continue;
    size_t at = mix(entry.first) & mask;
    while (steps_[at].first != kNoKey) at = (at + 1) & mask;
    steps_[at] = entry;
  }
}

SetId StateSets::step(SetId set, uint8_t byte) {
  if (set == kDead) return kDead;
  const uint64_t key = uint64_t{set} << 8 | byte;
  if (const uint32_t* known = transition(key)) return *known;
  for (uint32_t i = sets_[set].begin; i < sets_[set].end; ++i) {
    const Position at = positions_[i];
    for (const ByteEdge& edge : automaton_->byte_edges(automaton_->state(at.state))) {
      if (edge.first <= byte && byte <= edge.last) add(edge.target, at.frame);
    }
  }
  const SetId next = finish();
  if (++step_count_ * 2 > steps_.size()) grow();
  const size_t mask = steps_.size() - 1;
  size_t slot = mix(key) & mask;
  while (steps_[slot].first != kNoKey) slot = (slot + 1) & mask;
  steps_[slot] = {key, next};
  return next;
}

SetId StateSets::step_token(SetId set, int32_t token) {
  for (uint32_t i = sets_[set].begin; i < sets_[set].end; ++i) {
    const Position at = positions_[i];
    for (const TokenEdge& edge : automaton_->token_edges(automaton_->state(at.state))) {
      if ((edge.token == token) != edge.negated) add(edge.target, at.frame);
    }
  }
  return finish();
}

SetId StateSets::accept(SetId set, std::span<const uint8_t> bytes, int32_t token) {
  SetId by_bytes = bytes.empty() ? kDead : set;
  for (const uint8_t byte : bytes) by_bytes = step(by_bytes, byte);
  if (!automaton_->has_token_edges()) return by_bytes;
  const SetId by_token = step_token(set, token);
  if (by_token == kDead || by_bytes == kDead) return by_token == kDead ? by_bytes : by_token;
  for (const SetId each : {by_bytes, by_token}) {
    const auto list = positions(each);
    found_.insert(found_.end(), list.begin(), list.end());
    ends_ = ends_ || sets_[each].ends;
  }
  return finish();
}

size_t StateSets::bytes() const {
  return sets_.size() * (sizeof(Set) + 48) + positions_.size() * sizeof(Position) + frames_.size() * 64 +
         steps_.size() * sizeof(steps_[0]);
}

SetId StateSets::adopt(const StateSets& from, SetId set) {
  if (set == kDead) return kDead;
  for (const Position& each : from.positions(set)) {
    std::vector<uint32_t> returns;
    for (uint32_t frame = each.frame; frame != kBottom; frame = from.frames_[frame].parent) {
      returns.push_back(from.frames_[frame].return_state);
    }
    uint32_t frame = kBottom;
    for (size_t i = returns.size(); i-- > 0;) frame = push(returns[i], frame);
    found_.push_back({each.state, frame});
  }
  ends_ = from.ends(set);
  return finish();
}

}  // namespace moxie::grammar
