// Where lossd listens and with which credentials: ports, unix sockets, TLS, mutual TLS, and what
// may be wrong.
#include "server/lifecycle/listeners.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/lifecycle/ports_file.h"
#include "server/lifecycle/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A folder for the time of a test.
class Folder {
 public:
  Folder() {
    std::string pattern = "/tmp/lossd_listeners_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An authority, a server's certificate for localhost and a client's, by the openssl command.
void MakeCertificates(const Folder& folder) {
  const std::string script = "cd " + folder.path() + R"sh( && exec >/dev/null 2>&1
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/CN=$1" "${@:2}"; }
new ca -x509 -days 2 -out ca.pem
new stranger -x509 -days 2 -out stranger.pem
for who in server client; do
  new $who -out $who.csr
  printf 'subjectAltName=DNS:localhost\n' > $who.ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.pem
done)sh";
  std::ofstream(folder / "make.sh") << script;
  ASSERT_EQ(std::system(("bash " + (folder / "make.sh")).c_str()), 0);
  ASSERT_FALSE(ReadAll(folder / "client.pem").empty());
}

grpc::Status TryCall(const TestServer& server, size_t address,
                     const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  const auto stub = v1::LossService::NewStub(server.NewChannel(address, credentials));
  v1::ComputeLossResponse response;
  const auto context = NewContext();
  return stub->ComputeLoss(context.get(), MseRequest({1}, {1}), &response);
}

std::shared_ptr<grpc::ChannelCredentials> Tls(const Folder& folder, const std::string& authority,
                                              const std::string& client) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ReadAll(folder / (authority + ".pem"));
  if (!client.empty()) {
    options.pem_cert_chain = ReadAll(folder / (client + ".pem"));
    options.pem_private_key = ReadAll(folder / (client + ".key"));
  }
  return grpc::SslCredentials(options);
}

std::string StartError(const ServerOptions& options) {
  const TestServer server(options);
  EXPECT_FALSE(server.status().ok());
  return std::string(server.status().message());
}

TEST(Listeners, SeveralAtATime) {
  const Folder folder;
  ServerOptions options = TestOptions();
  options.listen = {"127.0.0.1:0", "unix:" + (folder / "socket"), "localhost:0"};
  {
    const TestServer server(options);
    ASSERT_TRUE(server.status().ok()) << server.status();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(TryCall(server, i, grpc::InsecureChannelCredentials()).ok()) << server.address(i);
    }
    // The socket is in use, and stays so.
    ServerOptions second = TestOptions();
    second.listen = {options.listen[1]};
    EXPECT_THAT(StartError(second), HasSubstr("served by another process"));
    EXPECT_TRUE(TryCall(server, 1, grpc::InsecureChannelCredentials()).ok());
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "socket"));
}

TEST(Listeners, APortThatIsTakenIsAnError) {
  const TestServer first;
  ServerOptions options = TestOptions();
  options.listen = {first.address()};
  EXPECT_THAT(StartError(options), HasSubstr(first.address()));
}

TEST(Listeners, AMetricsPortThatIsTakenIsAnError) {
  const TestServer holder;
  ServerOptions options = TestOptions();
  options.metrics_listen = holder.address();
  EXPECT_THAT(StartError(options), HasSubstr("--metrics-listen"));
}

TEST(Listeners, MalformedAddressesAreErrors) {
  for (const char* address : {"", "localhost", ":50051", "localhost:", "localhost:x",
                              "localhost:70000", "::1:50051", "unix:", "localhost:-1"}) {
    ServerOptions options = TestOptions();
    options.listen = {address};
    EXPECT_THAT(StartError(options), HasSubstr("--listen")) << address;
  }
  ServerOptions options = TestOptions();
  options.listen = {"unix:" + std::string(200, 'x')};
  EXPECT_THAT(StartError(options), HasSubstr("--listen"));
  options = TestOptions();
  options.metrics_listen = "nowhere";
  EXPECT_THAT(StartError(options), HasSubstr("--metrics-listen"));
}

TEST(Tls, ServesThoseWhoTrustItsAuthority) {
  const Folder folder;
  ASSERT_NO_FATAL_FAILURE(MakeCertificates(folder));
  ServerOptions options = TestOptions();
  options.listen = {"localhost:0"};
  options.tls_certificate = folder / "server.pem";
  options.tls_key = folder / "server.key";
  const TestServer server(options);
  ASSERT_TRUE(server.status().ok()) << server.status();
  EXPECT_TRUE(TryCall(server, 0, Tls(folder, "ca", "")).ok());
  EXPECT_FALSE(TryCall(server, 0, Tls(folder, "stranger", "")).ok());
  EXPECT_FALSE(TryCall(server, 0, grpc::InsecureChannelCredentials()).ok());
}

TEST(Tls, MutualWantsAClientCertificate) {
  const Folder folder;
  ASSERT_NO_FATAL_FAILURE(MakeCertificates(folder));
  ServerOptions options = TestOptions();
  options.listen = {"localhost:0", "unix:" + (folder / "socket")};
  options.tls_certificate = folder / "server.pem";
  options.tls_key = folder / "server.key";
  options.tls_client_ca = folder / "ca.pem";
  const TestServer server(options);
  ASSERT_TRUE(server.status().ok()) << server.status();
  EXPECT_TRUE(TryCall(server, 0, Tls(folder, "ca", "client")).ok());
  EXPECT_FALSE(TryCall(server, 0, Tls(folder, "ca", "")).ok());
  EXPECT_FALSE(TryCall(server, 0, Tls(folder, "ca", "stranger")).ok());
  // Unix sockets stay plain.
  EXPECT_TRUE(TryCall(server, 1, grpc::InsecureChannelCredentials()).ok());
}

TEST(Tls, WhatIsWrongWithFilesIsFoundAtTheStart) {
  const Folder folder;
  ASSERT_NO_FATAL_FAILURE(MakeCertificates(folder));
  const auto error = [&](const std::string& certificate, const std::string& key,
                         const std::string& authority) {
    ServerOptions options = TestOptions();
    options.tls_certificate = certificate;
    options.tls_key = key;
    options.tls_client_ca = authority;
    return StartError(options);
  };
  const std::string certificate = folder / "server.pem";
  const std::string key = folder / "server.key";
  EXPECT_THAT(error(folder / "none.pem", key, ""), HasSubstr("--tls-certificate: cannot read"));
  EXPECT_THAT(error(folder.path(), key, ""), HasSubstr("is a folder"));
  EXPECT_THAT(error(certificate, folder / "none.key", ""), HasSubstr("--tls-key: cannot read"));
  EXPECT_THAT(error(key, key, ""), HasSubstr("holds no certificate"));
  EXPECT_THAT(error(certificate, certificate, ""), HasSubstr("private key"));
  EXPECT_THAT(error(certificate, folder / "client.key", ""), HasSubstr("is not the key"));
  EXPECT_THAT(error(certificate, key, key), HasSubstr("--tls-client-ca"));
}

TEST(PortsFile, IsJsonAndWhole) {
  const Folder folder;
  const std::string path = folder / "ports \"x\".json";
  ASSERT_TRUE(WritePortsFile(path, {"127.0.0.1:1", "unix:/a\"b"}, "").ok());
  EXPECT_EQ(ReadAll(path),
            "{\"listen\":[\"127.0.0.1:1\",\"unix:/a\\\"b\"],\"metrics_listen\":\"\",\"pid\":" +
                std::to_string(getpid()) + "}\n");
  const absl::Status failed = WritePortsFile(folder / "none/ports.json", {}, "");
  EXPECT_THAT(std::string(failed.message()), HasSubstr("--ports-file"));
}

}  // namespace
}  // namespace lossd
