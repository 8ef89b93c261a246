#include "sample/sampler.h"

#include <algorithm>
#include <cmath>

#include "core/fail.h"

namespace moxie {

namespace samplers {
#define MOXIE_ENTRY(entry) extern const SamplerEntry entry;
#include "sample/samplers.inc"
#undef MOXIE_ENTRY
}  // namespace samplers

namespace {

constexpr const SamplerEntry* kEntries[] = {
#define MOXIE_ENTRY(entry) &samplers::entry,
#include "sample/samplers.inc"
#undef MOXIE_ENTRY
};

bool comes_before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace

std::span<const SamplerEntry* const> sampler_entries() {
  return kEntries;
}

const SamplerEntry* find_sampler(std::string_view name) {
  std::string spelled(name);
  std::replace(spelled.begin(), spelled.end(), '-', '_');
  for (const SamplerEntry* entry : kEntries) {
    if (entry->name == spelled || (!entry->alias.empty() && entry->alias == spelled)) return entry;
  }
  return nullptr;
}

Result<std::vector<std::string>> samplers_from_letters(std::string_view letters) {
  std::vector<std::string> names;
  for (const char letter : letters) {
    const auto found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                    [&](const SamplerEntry* entry) { return letter != 0 && entry->letter == letter; });
    if (found == std::end(kEntries)) {
      std::string known;
      for (const SamplerEntry* entry : kEntries) {
        if (entry->letter != 0) known += fmt::format("{}{} {}", known.empty() ? "" : ", ", entry->letter, entry->name);
      }
      return fail(ErrorCode::invalid_argument, "sampling-seq: no sampler has the letter '{}'; there are {}", letter,
                  known);
    }
    names.emplace_back((*found)->name);
  }
  return names;
}

void Candidates::sort() {
  sort_first(items.size());
}

void Candidates::sort_first(size_t count) {
  if (sorted) return;
  if (count >= items.size()) {
    std::sort(items.begin(), items.end(), comes_before);
    sorted = true;
    return;
  }
  const auto middle = items.begin() + static_cast<std::ptrdiff_t>(count);
  if (count < items.size() / 8) {  // a heap of `count`: nearly every item fails its first comparison
    std::partial_sort(items.begin(), middle, items.end(), comes_before);
  } else {
    std::nth_element(items.begin(), middle, items.end(), comes_before);
    std::sort(items.begin(), middle, comes_before);
  }
}

size_t Candidates::best() const {
  if (sorted) return 0;
  return static_cast<size_t>(std::min_element(items.begin(), items.end(), comes_before) - items.begin());
}

void Candidates::normalise() {
  if (normalised) return;
  const float max = items[best()].logit;
  if (std::isinf(max)) {  // everything is banned: all are alike
    for (Candidate& item : items) item.probability = 1.0f / static_cast<float>(items.size());
    normalised = true;
    return;
  }
  double sum = 0;
  for (Candidate& item : items) {
    item.probability = static_cast<float>(std::exp(static_cast<double>(item.logit) - max));
    sum += item.probability;
  }
  for (Candidate& item : items) item.probability = static_cast<float>(item.probability / sum);
  normalised = true;
}

void Candidates::softmax() {
  sort();
  normalise();
}

double draw_uniform(std::mt19937& random) {
  const uint64_t high = random() >> 5;  // 27 bits
  const uint64_t low = random() >> 6;   // 26 bits
  return static_cast<double>((high << 26) | low) * 0x1p-53;
}

std::span<const int32_t> recent_ids(const SamplerContext& context, int count) {
  const size_t wanted =
      static_cast<size_t>(count < 0 ? context.context_tokens : std::min<int64_t>(count, context.context_tokens));
  return context.history.last(std::min(wanted, context.history.size()));
}

}  // namespace moxie
