// How fast lossd is beside a bare gRPC server and beside peers, over TCP and a unix socket.
//
//   service_bench [--full] [--rounds N] [--only TEXT] [--lossd PATH] [--python PYTHON] > rows.json
//
// Every server is a process of its own with the same malloc settings; one client of raw bytes
// drives them all. Rows as JSON on standard output (rows.h), as a table on standard error.
// GB and MB are 10^9 and 10^6 bytes, sizes of messages 2^10 and 2^20.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "limit_server.h"
#include "load.h"
#include "rows.h"
#include "server/lifecycle/allocator.h"
#include "server_process.h"

namespace lossd::bench {
namespace {

constexpr int64_t kKib = int64_t{1} << 10;
constexpr int64_t kMib = int64_t{1} << 20;
// lossd takes 8 calls of a connection at a time.
constexpr int kCallsPerConnection = 8;
constexpr int kSmallInFlight = 64;
constexpr double kSeconds = 0.4;  // one measurement

struct Flags {
  std::string serve;
  std::vector<std::string> listen;
  std::string lossd;
  std::string python = "python3";
  std::string only;
  int rounds = 7;
  bool full = false;
};

// Elements of each of the two tensors of a message of so many bytes.
int64_t Elements(int64_t bytes) { return bytes / 2 / static_cast<int64_t>(sizeof(float)); }

class Bench {
 public:
  Bench(Flags flags, std::string folder)
      : flags_(std::move(flags)), folder_(std::move(folder)), source_(8 * kMib) {}

  std::vector<Row> Run();

 private:
  // Started when first asked for.
  const Addresses& Server(const std::string& name);
  std::unique_ptr<ServerProcess> Start(const std::string& name);
  bool Wanted(const std::string& work) const { return absl::StrContains(work, flags_.only); }

  // Requests over all of the source's memory.
  std::vector<grpc::ByteBuffer> ManyUnary(int64_t bytes);
  void SmallCalls(Transport transport);
  void LargeCalls(Transport transport, int64_t bytes, int in_flight);
  void Streams(Transport transport);
  void Sdk(Transport transport);
  void StreamMemory();

  Flags flags_;
  std::string folder_;
  Source source_;
  std::map<std::string, std::unique_ptr<ServerProcess>> servers_;
  std::vector<Row> rows_;
};

std::string Name(Transport transport) { return transport == Transport::kTcp ? "TCP" : "unix"; }

std::unique_ptr<ServerProcess> Bench::Start(const std::string& name) {
  const Addresses addresses = FreshAddresses(folder_, name);
  std::vector<std::string> command;
  if (name == "lossd") {
    command = {flags_.lossd, "--metrics-listen",    "",     "--log-level",
               "warning",    "--max-message-bytes", "80MiB"};
  } else if (name == "python") {
    command = {flags_.python, LOSSD_SERVICE_BENCH_FOLDER "/python_server.py"};
  } else {
    command = {"/proc/self/exe", "--serve", name};
  }
  for (const std::string& address : {addresses.tcp, addresses.unix_socket}) {
    command.insert(command.end(), {"--listen", address});
  }
  return std::make_unique<ServerProcess>(name, command, addresses);
}

const Addresses& Bench::Server(const std::string& name) {
  std::unique_ptr<ServerProcess>& server = servers_[name];
  if (server == nullptr) server = Start(name);
  return server->addresses();
}

std::vector<grpc::ByteBuffer> Bench::ManyUnary(int64_t bytes) {
  std::vector<grpc::ByteBuffer> requests;
  for (int64_t sent = 0; sent < 64 * kMib; sent += bytes) {
    requests.push_back(source_.Unary(Elements(bytes)));
  }
  return requests;
}

void Bench::SmallCalls(Transport transport) {
  const std::string work = absl::StrCat("ComputeLoss 1 KB, 64 in flight, ", Name(transport));
  if (!Wanted(work)) return;
  const std::vector<grpc::ByteBuffer> requests(1, source_.Unary(Elements(kKib)));
  std::vector<std::unique_ptr<Client>> clients;
  const auto contender = [&](Contender::Role role, const std::string& name,
                             const std::string& server) {
    clients.push_back(std::make_unique<Client>(Server(server).Of(transport),
                                               kSmallInFlight / kCallsPerConnection));
    return Contender{role, name, [&requests, client = clients.back().get()] {
                       return client->UnaryRate(requests, kSmallInFlight, kSeconds);
                     }};
  };
  rows_.push_back(Compare(work, "calls/s", flags_.rounds,
                          {contender(Contender::kLossd, "lossd", "lossd"),
                           contender(Contender::kLimit, "bare gRPC echo, callbacks", "raw"),
                           contender(Contender::kLimit, "bare gRPC echo, queues", "queue"),
                           contender(Contender::kPeer, "Python grpcio + PyTorch", "python")}));
}

void Bench::LargeCalls(Transport transport, int64_t bytes, int in_flight) {
  const std::string work = absl::StrFormat("ComputeLoss %d MB mse, %d in flight, %s", bytes / kMib,
                                           in_flight, Name(transport));
  if (!Wanted(work)) return;
  const std::vector<grpc::ByteBuffer> requests = ManyUnary(bytes);
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  std::vector<std::unique_ptr<Client>> clients;
  const auto contender = [&](Contender::Role role, const std::string& name,
                             const std::string& server) {
    clients.push_back(std::make_unique<Client>(Server(server).Of(transport), 1));
    return Contender{role, name, [&, client = clients.back().get()] {
                       return gigabytes * client->UnaryRate(requests, in_flight, kSeconds);
                     }};
  };
  std::vector<Contender> contenders = {
      contender(Contender::kLossd, "lossd", "lossd"),
      contender(Contender::kLimit, "bare gRPC upload, raw bytes", "raw"),
      contender(Contender::kPeer, "Python grpcio + PyTorch", "python")};
  const v1::ComputeLossRequest ordinary = source_.OrdinaryUnary(Elements(bytes));
  Client ordinary_client(Server("ordinary").Of(transport), 1);
  if (in_flight == 1) {
    contenders.push_back({Contender::kLimit, "bare gRPC upload, ordinary messages", [&] {
                            return gigabytes *
                                   ordinary_client.OrdinaryUnaryRate(ordinary, kSeconds);
                          }});
  }
  rows_.push_back(Compare(work, "GB/s", flags_.rounds, contenders));
}

void Bench::Streams(Transport transport) {
  const std::string work = absl::StrCat("Evaluate, batches of 1 MB, mse, ", Name(transport));
  if (!Wanted(work)) return;
  std::vector<std::unique_ptr<Client>> clients;
  const auto contender = [&](Contender::Role role, const std::string& name,
                             const std::string& server) {
    clients.push_back(std::make_unique<Client>(Server(server).Of(transport), 1));
    return Contender{role, name, [this, client = clients.back().get()] {
                       return static_cast<double>(kMib) / 1e9 *
                              client->StreamRate(&source_, Elements(kMib), kSeconds);
                     }};
  };
  rows_.push_back(Compare(work, "GB/s", flags_.rounds,
                          {contender(Contender::kLossd, "lossd", "lossd"),
                           contender(Contender::kLimit, "bare gRPC stream, raw bytes", "raw"),
                           contender(Contender::kPeer, "Python grpcio + PyTorch", "python")}));
}

// What the SDK costs: over the bare server, beside the client of raw bytes over the same.
void Bench::Sdk(Transport transport) {
  const std::string& address = Server("raw").Of(transport);
  Client bare(address, 1);
  SdkClient sdk(address);
  const auto compare = [&](const std::string& work, int64_t bytes, auto sdk_rate, auto bare_rate) {
    if (!Wanted(work)) return;
    const double gigabytes = static_cast<double>(bytes) / 1e9;
    rows_.push_back(
        Compare(work, "GB/s", flags_.rounds,
                {{Contender::kLossd, "C++ SDK", [&] { return gigabytes * sdk_rate(); }},
                 {Contender::kLimit, "raw bytes", [&] { return gigabytes * bare_rate(); }}}));
  };
  const std::vector<grpc::ByteBuffer> requests = ManyUnary(4 * kMib);
  compare(
      absl::StrCat("C++ SDK to a bare server, ComputeLoss 4 MB, ", Name(transport)), 4 * kMib,
      [&] { return sdk.UnaryRate(&source_, Elements(4 * kMib), kSeconds); },
      [&] { return bare.UnaryRate(requests, 1, kSeconds); });
  compare(
      absl::StrCat("C++ SDK to a bare server, Evaluate 1 MB, ", Name(transport)), kMib,
      [&] { return sdk.StreamRate(&source_, Elements(kMib), kSeconds); },
      [&] { return bare.StreamRate(&source_, Elements(kMib), kSeconds); });
}

void Bench::StreamMemory() {
  constexpr double kLimitMegabytes = 128;
  const int64_t gigabytes = flags_.full ? 20 : 2;
  const std::string work =
      absl::StrFormat("Peak memory of lossd, Evaluate of %d GB by 1 MB, TCP", gigabytes);
  if (!Wanted(work)) return;
  const std::unique_ptr<ServerProcess> lossd = Start("lossd");  // which took no large call before
  const int64_t batches = gigabytes * 1'000'000'000 / kMib;
  Memory middle;
  Client client(lossd->addresses().tcp, 1);
  client.Stream(&source_, Elements(kMib), [&](int64_t sent) {
    if (sent == batches / 2) middle = lossd->memory();
    return sent < batches;
  });
  const Memory end = lossd->memory();
  Row row{.work = work, .unit = "MB", .value = end.peak_mb};
  row.limit = "the promise";
  row.limit_value = kLimitMegabytes;
  row.ratio = end.peak_mb / kLimitMegabytes;
  row.note = absl::StrFormat("resident halfway %.1f, at the end %.1f", middle.resident_mb,
                             end.resident_mb);
  rows_.push_back(row);
}

std::vector<Row> Bench::Run() {
  StreamMemory();
  for (const Transport transport : {Transport::kTcp, Transport::kUnix}) {
    SmallCalls(transport);
    LargeCalls(transport, 4 * kMib, 4);
    LargeCalls(transport, 64 * kMib, 1);
    Streams(transport);
    Sdk(transport);
  }
  return rows_;
}

int Main(int argc, char** argv) {
  Flags flags;
  flags.lossd = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "lossd";
  CLI::App app("Measures lossd beside a bare gRPC server and beside peers");
  app.add_flag("--full", flags.full, "Memory over 20 GB instead of 2");
  app.add_option("--rounds", flags.rounds, "Rounds of each row");
  app.add_option("--only", flags.only, "Only works whose name has this text");
  app.add_option("--lossd", flags.lossd, "The server (default: beside this binary)");
  app.add_option("--python", flags.python, "A Python with grpcio, protobuf and torch");
  app.add_option("--serve", flags.serve, "Be the limit: raw, queue or ordinary");
  app.add_option("--listen", flags.listen, "With --serve: a TCP address and a unix socket")
      ->allow_extra_args(false);
  CLI11_PARSE(app, argc, argv);
  if (!flags.serve.empty()) {
    return flags.listen.size() == 2 &&
                   RunLimitServer(flags.serve, {flags.listen[0], flags.listen[1]})
               ? 0
               : 1;
  }
  std::string folder = std::filesystem::temp_directory_path() / "lossd-service-bench-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const std::vector<Row> rows = Bench(flags, folder).Run();
  std::filesystem::remove_all(folder);
  PrintTable(rows, std::cerr);
  PrintJson(rows, std::cout);
  return 0;
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) {
  lossd::TuneAllocator();
  return lossd::bench::Main(argc, argv);
}
