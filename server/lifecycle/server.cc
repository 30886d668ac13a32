#include "server/lifecycle/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/config/option_table.h"
#include "server/lifecycle/listeners.h"

namespace lossd {
namespace {

// gRPC's quota covers what admission cannot see, messages that are still coming in: as much again
// as admission lets through, and no less than this, or a small limit would stall the transport. It
// is a backstop: gRPC overshoots it, and refuses with a bare RESOURCE_EXHAUSTED.
constexpr int64_t kSmallestQuotaBytes = int64_t{256} << 20;
// A client that vanished without a word is noticed after this, and its stream slot is free again.
constexpr int kKeepaliveMilliseconds = 60'000;
constexpr int kKeepaliveTimeoutMilliseconds = 20'000;
// Clients may ping as often as this, idle or not; the default of five minutes closes connections of
// those that keep a NAT open.
constexpr int kClientPingMilliseconds = 10'000;
// Time for statuses to leave after the last call, and for health watchers, which never end by
// themselves.
constexpr absl::Duration kLastWords = absl::Milliseconds(300);

std::vector<v1::Limit> ReportedLimits(const ServerOptions& options) {
  std::vector<v1::Limit> limits;
  for (const OptionRow& row : OptionTable()) {
    const auto* field = std::get_if<int64_t ServerOptions::*>(&row.field);
    if (!row.limit || field == nullptr) continue;
    v1::Limit limit;
    limit.set_flag(std::string(row.flag));
    limit.set_value(options.*(*field));
    limits.push_back(std::move(limit));
  }
  return limits;
}

absl::StatusOr<BuildFacts> FactsOf(const LossEngine& engine) {
  v1::GetServerInfoResponse info;
  const absl::Status asked = engine.GetServerInfo(v1::GetServerInfoRequest(), &info);
  if (!asked.ok()) return asked;
  return BuildFacts{info.version(), info.arithmetic_revision(), info.simd_target()};
}

absl::StatusOr<std::vector<std::string>> LossNames(const LossEngine& engine) {
  v1::ListLossesResponse catalogue;
  const absl::Status asked = engine.ListLosses(v1::ListLossesRequest(), &catalogue);
  if (!asked.ok()) return asked;
  std::vector<std::string> names;
  for (const v1::LossDescription& loss : catalogue.losses()) names.push_back(loss.name());
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      Logger* logger) {
  std::unique_ptr<Server> server(new Server(options, logger));
  for (absl::Status (Server::*step)() :
       {&Server::MakeParts, &Server::ServeMetrics, &Server::ServeCalls}) {
    const absl::Status status = (server.get()->*step)();
    if (!status.ok()) return status;
  }
  return server;
}

Server::Server(const ServerOptions& options, Logger* logger) : options_(options), logger_(logger) {}

Server::~Server() {
  if (grpc_server_ != nullptr) Drain(absl::ZeroDuration());
}

absl::Status Server::MakeParts() {
  EngineOptions engine_options;
  engine_options.threads = static_cast<int>(options_.threads);
  engine_options.limits.max_state_bytes = options_.max_state_bytes;
  engine_options.limits.max_response_bytes = options_.max_message_bytes;
  engine_options.limits.max_constant_bytes = options_.max_constant_bytes;
  engine_options.reported_limits = ReportedLimits(options_);
  // The metrics need the engine's catalogue, so they come after it, but before the first call.
  engine_options.on_computed = [this](const LossObservation& seen) {
    metrics_->Computed(seen.loss_index, seen.items, seen.nan_items, seen.inf_items, seen.seconds);
  };
  absl::StatusOr<std::unique_ptr<LossEngine>> engine =
      LossEngine::Create(std::move(engine_options));
  if (!engine.ok()) return engine.status();
  engine_ = *std::move(engine);
  const absl::StatusOr<BuildFacts> facts = FactsOf(*engine_);
  if (!facts.ok()) return facts.status();
  const absl::StatusOr<std::vector<std::string>> names = LossNames(*engine_);
  if (!names.ok()) return names.status();
  metrics_ = std::make_unique<Metrics>(*names, *facts, options_.max_metric_label_sets);
  admission_ = std::make_unique<Admission>(
      AdmissionLimits{options_.max_inflight_bytes, options_.max_streams},
      [this](int64_t delta) { metrics_->InflightChanged(delta); });
  service_ = std::make_unique<LossServiceImpl>(ServiceParts{
      engine_.get(), admission_.get(), metrics_.get(), logger_, options_.max_message_bytes});
  return absl::OkStatus();
}

absl::Status Server::ServeMetrics() {
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<MetricsPort>> port =
      MetricsPort::Open(options_.metrics_listen, metrics_->registry());
  if (!port.ok()) return port.status();
  metrics_port_ = *std::move(port);
  return absl::OkStatus();
}

void Server::AddLimits(grpc::ServerBuilder* builder) const {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options_.max_message_bytes));
  builder->SetMaxSendMessageSize(-1);  // the receiver's limit is the receiver's
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              static_cast<int>(options_.max_concurrent_calls_per_connection));
  // Two servers on one port would share its connections without a word.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kClientPingMilliseconds);
  grpc::ResourceQuota quota("lossd");
  quota.Resize(static_cast<size_t>(std::max(kSmallestQuotaBytes, options_.max_inflight_bytes)));
  builder->SetResourceQuota(quota);
}

absl::Status Server::ServeCalls() {
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> credentials = TcpCredentials(options_);
  if (!credentials.ok()) return credentials.status();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  AddLimits(&builder);
  std::vector<int> ports(options_.listen.size());
  for (size_t i = 0; i < options_.listen.size(); ++i) {
    const std::string& address = options_.listen[i];
    absl::Status usable = CheckAddress("listen", address);
    if (usable.ok() && IsUnixAddress(address)) usable = CheckUnixSocketFree(address);
    if (!usable.ok()) return usable;
    builder.AddListeningPort(
        address, IsUnixAddress(address) ? grpc::InsecureServerCredentials() : *credentials,
        &ports[i]);
  }
  builder.RegisterService(service_.get());
  grpc_server_ = builder.BuildAndStart();
  for (size_t i = 0; i < ports.size(); ++i) {
    if (grpc_server_ == nullptr || ports[i] == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--listen: cannot listen on ", options_.listen[i],
                       ": the address is taken, is not this machine's, or may not be used"));
    }
    addresses_.push_back(IsUnixAddress(options_.listen[i])
                             ? options_.listen[i]
                             : WithPort(options_.listen[i], ports[i]));
  }
  grpc_server_->GetHealthCheckService()->SetServingStatus(std::string(kServiceName), true);
  return absl::OkStatus();
}

void Server::Drain(absl::Duration grace) {
  const absl::Time deadline = absl::Now() + grace;
  grpc_server_->GetHealthCheckService()->Shutdown();
  admission_->BeginDrain();
  const bool idle = admission_->WaitIdle(deadline - kLastWords);
  if (!idle) {
    logger_->Log(LogLevel::kWarning, "drain ran out of time",
                 {{"held_bytes", admission_->inflight_bytes()}});
  }
  grpc_server_->Shutdown(absl::ToChronoTime(std::min(deadline, absl::Now() + kLastWords)));
  grpc_server_->Wait();
  grpc_server_.reset();
  for (const std::string& address : addresses_) {
    if (IsUnixAddress(address)) unlink(UnixPath(address).c_str());
  }
}

}  // namespace lossd
