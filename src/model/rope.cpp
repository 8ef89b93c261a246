#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moxie {
namespace {

// The dimension whose wave makes `turns` turns within the original context.
double dimension_of_turns(double turns, const RopeOptions& options) {
  return static_cast<double>(options.dims) *
         std::log(static_cast<double>(options.original_context) / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(options.base));
}

void scale_yarn(std::vector<double>& frequencies, const RopeOptions& options) {
  double low = dimension_of_turns(options.beta_fast, options), high = dimension_of_turns(options.beta_slow, options);
  if (options.whole_dimensions) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(0.0, low);
  high = std::min(static_cast<double>(options.dims - 1), high);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / options.factor * ramp + frequencies[i] * (1 - ramp);
  }
}

void scale_llama3(std::vector<double>& frequencies, const RopeOptions& options) {
  const double original = static_cast<double>(options.original_context);
  const double low_wavelength = original / options.low_freq_factor;
  const double high_wavelength = original / options.high_freq_factor;
  for (double& frequency : frequencies) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > low_wavelength) {
      frequency /= options.factor;
    } else if (wavelength > high_wavelength) {
      const double smooth =
          (original / wavelength - options.low_freq_factor) / (options.high_freq_factor - options.low_freq_factor);
      frequency = (1 - smooth) * frequency / options.factor + smooth * frequency;
    }
  }
}

}  // namespace

Rope::Rope(const RopeOptions& options, std::span<const float> factors) : neox_(options.neox) {
  frequencies_.resize(static_cast<size_t>(options.dims / 2));
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    frequencies_[i] = std::pow(options.base, -2.0 * static_cast<double>(i) / static_cast<double>(options.dims));
  }
  switch (options.scaling) {
    case RopeScaling::none:
      break;
    case RopeScaling::linear:
      for (double& frequency : frequencies_) frequency /= options.factor;
      break;
    case RopeScaling::yarn:
      scale_yarn(frequencies_, options);
      magnitude_ =
          options.attention_factor > 0 ? options.attention_factor : 1 + 0.1 * std::log(std::max(1.0, options.factor));
      break;
    case RopeScaling::llama3:
      scale_llama3(frequencies_, options);
      break;
  }
  for (size_t i = 0; i < factors.size() && i < frequencies_.size(); ++i)
    frequencies_[i] /= static_cast<double>(factors[i]);
}

void Rope::reset(RopeTable& table) const {
  table.half = static_cast<int>(frequencies_.size());
  table.neox = neox_;
  table.cos.clear();
  table.sin.clear();
}

void Rope::append(RopeTable& table, int64_t first, int64_t count) const {
  for (int64_t position = first; position < first + count; ++position) {
    for (const double frequency : frequencies_) {
      const double angle = static_cast<double>(position) * frequency;
      table.cos.push_back(static_cast<float>(std::cos(angle) * magnitude_));
      table.sin.push_back(static_cast<float>(std::sin(angle) * magnitude_));
    }
  }
}

}  // namespace moxie
