#include "lib/evaluation/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <vector>

namespace lossd {
namespace {

bool IsDefault(double value, double default_value) {
  return value == default_value || (value != value && default_value != default_value);
}

// Every bit of a finite double, in text.
std::string Exactly(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%a", value == 0 ? 0.0 : value);
  return text;
}

}  // namespace

Sha256Digest Sha256(std::string_view bytes) {
  Sha256Digest digest;
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return digest;
}

Sha256Digest Fingerprint(std::span<const LossSpec> losses,
                         std::span<const ConstantIdentity> constants, NonFinitePolicy non_finite) {
  std::string text = "lossd evaluation\n";
  for (const LossSpec& loss : losses) {
    text += std::string("loss ") + loss.row->name;
    for (int i = 0; i < loss.row->parameters.size; ++i) {
      const Parameter& parameter = loss.row->parameters[i];
      if (IsDefault(loss.parameters[i], parameter.default_value)) continue;
      text += std::string(" ") + parameter.name + "=" + Exactly(loss.parameters[i]);
    }
    text += "\n";
  }
  text += "non_finite " + std::to_string(static_cast<int>(non_finite)) + "\n";
  std::vector<const ConstantIdentity*> sorted;
  for (const ConstantIdentity& constant : constants) sorted.push_back(&constant);
  std::ranges::sort(sorted, {}, [](const ConstantIdentity* constant) { return constant->name; });
  for (const ConstantIdentity* constant : sorted) {
    // The name may hold anything, so its length goes before it.
    text += "constant " + std::to_string(constant->name.size()) + " " + constant->name + " " +
            std::string(Name(constant->dtype)) + constant->shape.ToString() + " ";
    text.append(reinterpret_cast<const char*>(constant->sha256.data()), constant->sha256.size());
    text += "\n";
  }
  return Sha256(text);
}

}  // namespace lossd
