// Which experts a text uses: how many of its tokens chose each expert of each layer, and with how much weight. Made by
// Profiler, kept in a JSON file, used to pin experts and to start with the right ones in memory. Plain data; the
// functions are thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model_identity.h"
#include "moxie/error.h"
#include "store/policy.h"
#include "store/streamed_experts.h"

namespace moxie {

struct ExpertProfile {
  std::string model, fingerprint;
  bool router_only = false;  // the experts' own contribution was left out while it was made
  int64_t tokens = 0;
  int experts_used = 0;
  // [layer][id]; empty for layers without a mixture.
  std::vector<std::vector<uint64_t>> uses;  // tokens that chose the expert
  std::vector<std::vector<double>> mass;    // sum of the weights with which they did

  // Ids of the layer, most uses first; mass decides between equals, then the lower id.
  std::vector<int32_t> ranked(size_t layer) const;
  // The share of the layer's uses that its n most used experts take.
  double share_of_top(size_t layer, size_t n) const;
};

std::string profile_text(const ExpertProfile& profile);
// Errors: corrupt for what is no profile or contradicts itself, invalid_argument for another model's (named).
Result<ExpertProfile> parse_profile(std::string_view text, std::string_view what, const ModelIdentity& model);
Result<ExpertProfile> read_profile(const std::string& path, const ModelIdentity& model);

// What a policy would know after such a text.
std::vector<KnownExpert> known_from(const ExpertProfile& profile, const PolicyEntry& policy);

// What --pin asks for.
struct PinChoice {
  std::vector<KnownExpert> pins;         // distinct
  std::optional<ExpertProfile> profile;  // where they come from
};
// `text`: "layer:expert,layer:expert", or the path of a profile, of which the `top` most used experts of each layer are
// taken. has_mixture: by layer. Errors: an expert that the model does not have; as read_profile.
Result<PinChoice> read_pins(const std::string& text, int top, const ModelIdentity& model,
                            const std::vector<bool>& has_mixture);

}  // namespace moxie
