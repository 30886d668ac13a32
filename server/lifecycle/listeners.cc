#include "server/lifecycle/listeners.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr std::string_view kUnixScheme = "unix:";

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

absl::Status Wrong(std::string_view flag, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("--", std::string(flag), ": ", std::string(what)));
}

absl::StatusOr<std::string> ReadFile(std::string_view flag, const std::string& path) {
  if (std::filesystem::is_directory(path)) return Wrong(flag, absl::StrCat(path, " is a folder"));
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) {
    return Wrong(flag, absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  return text;
}

Bio Memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

absl::StatusOr<Certificate> FirstCertificate(std::string_view flag, const std::string& path,
                                             const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(Memory(pem).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr)
    return Wrong(flag, absl::StrCat(path, " holds no certificate in PEM"));
  return certificate;
}

// An encrypted key is refused; without this OpenSSL would ask for its password on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

absl::Status CheckPair(const ServerOptions& options, const std::string& certificate_pem,
                       const std::string& key_pem) {
  const absl::StatusOr<Certificate> certificate =
      FirstCertificate("tls-certificate", options.tls_certificate, certificate_pem);
  if (!certificate.ok()) return certificate.status();
  const Key key(PEM_read_bio_PrivateKey(Memory(key_pem).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return Wrong("tls-key",
                 absl::StrCat(options.tls_key, " holds no unencrypted private key in PEM"));
  }
  if (X509_check_private_key(certificate->get(), key.get()) != 1) {
    return Wrong("tls-key", absl::StrCat(options.tls_key, " is not the key of the certificate in ",
                                         options.tls_certificate));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsUnixAddress(const std::string& address) { return address.starts_with(kUnixScheme); }

std::string UnixPath(const std::string& address) {
  std::string path = address.substr(kUnixScheme.size());
  // unix:///absolute/path is the same as unix:/absolute/path.
  if (path.starts_with("//")) path.erase(0, 2);
  return path;
}

absl::Status CheckAddress(const std::string& flag, const std::string& address) {
  if (IsUnixAddress(address)) {
    const std::string path = UnixPath(address);
    if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
      return Wrong(flag, absl::StrCat("'", address, "' has no path, or one over ",
                                      sizeof(sockaddr_un::sun_path) - 1, " bytes"));
    }
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  int port = -1;
  const bool well_formed = colon != std::string::npos && colon > 0 &&
                           absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 0 &&
                           port <= 65535;
  const bool bare_ipv6 = well_formed && address.front() != '[' && address.find(':') != colon;
  if (!well_formed || bare_ipv6) {
    return Wrong(flag, absl::StrCat("'", address, "' is not HOST:PORT, [IPV6]:PORT or unix:/PATH"));
  }
  return absl::OkStatus();
}

std::string WithPort(const std::string& address, int port) {
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

absl::Status CheckUnixSocketFree(const std::string& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = UnixPath(address);
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0)
    return Wrong("listen", absl::StrCat("cannot make a unix socket: ", std::strerror(errno)));
  const bool taken = connect(probe, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
  close(probe);
  if (taken) return Wrong("listen", absl::StrCat(address, " is served by another process"));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TcpCredentials(
    const ServerOptions& options) {
  if (options.tls_certificate.empty()) return grpc::InsecureServerCredentials();
  absl::StatusOr<std::string> certificate = ReadFile("tls-certificate", options.tls_certificate);
  if (!certificate.ok()) return certificate.status();
  absl::StatusOr<std::string> key = ReadFile("tls-key", options.tls_key);
  if (!key.ok()) return key.status();
  const absl::Status pair = CheckPair(options, *certificate, *key);
  if (!pair.ok()) return pair;
  const bool mutual = !options.tls_client_ca.empty();
  grpc::SslServerCredentialsOptions tls(
      mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  if (mutual) {
    absl::StatusOr<std::string> authorities = ReadFile("tls-client-ca", options.tls_client_ca);
    if (!authorities.ok()) return authorities.status();
    const auto first = FirstCertificate("tls-client-ca", options.tls_client_ca, *authorities);
    if (!first.ok()) return first.status();
    tls.pem_root_certs = *std::move(authorities);
  }
  tls.pem_key_cert_pairs.push_back({*std::move(key), *std::move(certificate)});
  return grpc::SslServerCredentials(tls);
}

}  // namespace lossd
