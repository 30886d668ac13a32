// What lossd can be told: every option with its default, and the limits among them.
//
// Plain values; copying is cheap and nothing is shared. The table in option_table.cc binds each
// field to its flag, its key in a configuration file and its LOSSD_* variable.
#ifndef LOSSD_SERVER_CONFIG_SERVER_OPTIONS_H_
#define LOSSD_SERVER_CONFIG_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lossd {

struct ServerOptions {
  // Where it listens.
  std::vector<std::string> listen{"127.0.0.1:50051"};
  std::string metrics_listen = "127.0.0.1:9464";  // empty: no metrics port
  std::string ports_file;                         // empty: none

  // Transport security of the TCP listeners. Empty: none.
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_client_ca;

  // Work and limits. The defaults fit two cores and 2 GiB.
  int64_t threads = 0;  // 0: one a core
  int64_t max_message_bytes = int64_t{16} << 20;
  int64_t max_inflight_bytes = int64_t{512} << 20;
  int64_t max_streams = 64;
  int64_t max_concurrent_calls_per_connection = 8;
  int64_t max_state_bytes = int64_t{2} << 20;
  int64_t max_constant_bytes = int64_t{256} << 20;
  int64_t max_metric_label_sets = 1000;

  double drain_seconds = 20;

  std::string log_format = "text";
  std::string log_level = "info";
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SERVER_OPTIONS_H_
