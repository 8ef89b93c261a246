#include "core/edit_distance.h"

#include <algorithm>
#include <vector>

namespace moxie {
namespace {

constexpr int kNumberChange = 4;
constexpr int kNumberGone = 2;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_number(std::string_view atom) {
  return is_digit(atom.front());
}

// Single letters, and whole numbers.
std::vector<std::string_view> atoms(std::string_view text) {
  std::vector<std::string_view> found;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (is_digit(text[i])) {
      while (end < text.size() && is_digit(text[end])) ++end;
    }
    found.push_back(text.substr(i, end - i));
    i = end;
  }
  return found;
}

int gone_cost(std::string_view atom) {
  return is_number(atom) ? kNumberGone : 1;
}

int change_cost(std::string_view a, std::string_view b) {
  if (a == b) return 0;
  if (is_number(a) && is_number(b)) return kNumberChange;
  return is_number(a) || is_number(b) ? kNumberGone + 1 : 1;
}

int distance(const std::vector<std::string_view>& a, const std::vector<std::string_view>& b) {
  std::vector<int> row(b.size() + 1, 0);
  for (size_t j = 0; j < b.size(); ++j) row[j + 1] = row[j] + gone_cost(b[j]);
  for (const std::string_view from : a) {
    int diagonal = row[0];
    row[0] += gone_cost(from);
    for (size_t j = 0; j < b.size(); ++j) {
      const int above = row[j + 1];
      row[j + 1] = std::min({above + gone_cost(from), row[j] + gone_cost(b[j]), diagonal + change_cost(from, b[j])});
      diagonal = above;
    }
  }
  return row.back();
}

size_t common_start(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  return distance(atoms(a), atoms(b));
}

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> names) {
  const std::vector<std::string_view> wanted = atoms(name);
  int best = std::max<int>(2, static_cast<int>(name.size()) / 3) + 1;
  size_t best_start = 0;
  std::string_view found;
  for (const std::string_view candidate : names) {
    // Lengths alone rule most names out; numbers count as one letter, so compare generously.
    const int spread = static_cast<int>(candidate.size()) - static_cast<int>(name.size());
    if (spread > 2 * best + 8 || -spread > 2 * best + 8) continue;
    const int steps = distance(wanted, atoms(candidate));
    // Of equals the one that begins alike: what names mean goes from the general to the particular.
    const size_t start = common_start(name, candidate);
    if (steps < best || (steps == best && !found.empty() && start > best_start)) {
      best = steps;
      best_start = start;
      found = candidate;
    }
  }
  return found;
}

}  // namespace moxie
