// Options are every bound and every timeout of a runtime: unit in the name, default here, reason
// beside it.
//
// Owner:  whoever holds it; a plain value. The Runtime copies it once.
// Thread: any, as for an int.
// Bound:  its fields are the bounds. docs/limits.md has each with its reason; tools/docs.py keeps
//         that page true.
// Errors: Complete() names the field, its value and what would be accepted.
#ifndef SLUICE_CORE_OS_OPTIONS_H_
#define SLUICE_CORE_OS_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/base/language.h"

namespace sluice {

class Os;

// What must be chargeable before a connection reads: what its session may write of it must find
// memory (a read is 32 KiB, and buffers take a little more than their bytes).
inline constexpr int64_t kReadHeadroomBytes = 64 * 1024;

// What an acceptor does with a peer that comes when max_connections are open.
enum class AtLimit : uint8_t {
  kRefuse,     // Accept and close at once: the peer learns it now.
  kWait,       // Leave it in the kernel's backlog until another one ends.
  kEvictIdle,  // End the connection that has been silent longest (to within 16 ms).
};

// What becomes of a cycle of actors that are parked on each other's full mailboxes.
enum class OnWaitCycle : uint8_t {
  kDrop,    // The message that the last one to park waits with is dropped(deadlock), and counted.
  kReport,  // It is named in the log, and stays.
  kFail,    // That message is dropped, and the last one to park fails.
};

struct Options {
  // Threads. 0: as many as there are processors for this process.
  int workers = 0;
  // Most actors alive at once, wherever they live; a session is an actor. A slot is 128 bytes; what
  // a name, a parent or an end takes besides is kActorExtraBytes (core/slot/actor_extra.h).
  uint32_t actors_max = 262'144;
  // User messages that may wait for one actor, unless its spawn says otherwise.
  uint32_t mailbox_messages_max = 256;
  // User messages on their way from one worker to another. 64 bytes each, in each direction of each
  // pair.
  uint32_t lane_messages_max = 1'024;
  // Messages that one parked actor may have waiting to be sent; then Send answers overloaded.
  uint32_t outbox_messages_max = 1'024;
  // Questions one actor may have open; a late answer keeps its place until it comes.
  uint32_t asks_max = 1'024;
  uint32_t monitors_max = 262'144;  // That one actor has on others: as many as there are.
  uint32_t timers_max = 1'024;      // Of one actor.
  uint32_t names_max = 65'536;
  // Threads for RunBlocking, started when first needed. What blocks mostly waits, for a disk or a
  // server; four of them keep a disk busy, and a program that waits for more says so.
  int blocking_threads_max = 4;
  // Calls of one worker's actors that may wait for such a thread; then their callers park. As much
  // as a mailbox holds.
  uint32_t blocking_calls_max = 256;

  // Bytes for envelopes, messages and connection buffers. 0: a quarter of the machine's memory, at
  // most 1 GiB. At least MemoryBytesMin().
  int64_t memory_bytes_max = 0;

  // When it stays spent for so long, the connection that holds most among those whose peers took
  // and sent nothing in that time is ended, and every 100 ms after that twice as many as before.
  // Peers that read are served meanwhile. A peer that has sent an unfinished frame, the rest of
  // which cannot be read as memory is spent, is to blame after three times as long. inf: none is.
  absl::Duration shed_after = absl::Seconds(1);

  // How long an ended actor's waiting messages may take to leave, and a closing socket to be read
  // to its end.
  absl::Duration linger_timeout = absl::Seconds(5);
  // How long a drain may take before what is left is dropped, and counted.
  absl::Duration drain_timeout = absl::Seconds(5);
  // A parked actor asks whether it waits for itself after so long (a cycle of waits).
  absl::Duration probe_after = absl::Milliseconds(100);
  // And when it does: a cycle ends by itself only when one of its actors ends.
  OnWaitCycle on_wait_cycle = OnWaitCycle::kDrop;
  // A handler that runs longer is named in the log: everyone else on its worker waited.
  absl::Duration slow_handler = absl::Milliseconds(10);

  // Sockets. 0 connections: min(65,536, descriptors - 64), or half the descriptors if those are
  // more.
  int64_t max_connections = 0;
  AtLimit at_limit = AtLimit::kRefuse;
  // Descriptors that a connection takes: 2 where each opens another one (a relay). Counts for the
  // default of max_connections and for the memory ceiling.
  int sockets_per_connection = 1;
  int backlog = 4'096;
  // Accepts in a second on each address, so that a storm of newcomers leaves time for those who are
  // there; more wait in the backlog. 0: no limit. And how many may come at once after a quiet time;
  // 0: a tenth of a second's, at least 1.
  static constexpr int64_t kAcceptRateMax = 1'000'000;
  int64_t accepts_per_second_max = 0;
  int64_t accepts_burst_max = 0;
  // Nothing received or sent for so long. A peer whose bytes lie unread, as its session is parked
  // or memory is spent, is not silent; while its session has paused reading, it is. Nor is a peer
  // that acknowledges what was sent before: that is looked at when the time is over, so a peer that
  // takes nothing, and whose kernel only answers probes, may have the time twice. TCP opens a
  // window that was full only when a good part of it is free (RFC 9293, 3.8.6.2.2: at least a
  // segment or half the buffer), so a peer that reads 1 KiB a second may look silent for a minute:
  // this limit, and write_stalled_timeout, must be longer than that.
  absl::Duration idle_timeout = absl::InfiniteDuration();
  absl::Duration lifetime_timeout = absl::InfiniteDuration();  // Since accept.
  // One side has ended, and nothing was received or sent for so long.
  absl::Duration half_closed_timeout = absl::Minutes(5);
  // The peer took no byte of what waits for it.
  absl::Duration write_stalled_timeout = absl::Seconds(60);
  // Since this side closed, whatever progress the peer makes: a byte now and then would hold the
  // connection for ever, and there is no session any more that could end it.
  absl::Duration close_timeout = absl::Minutes(5);
  // Dead peers: probes after 10 s of silence, then each 5 s, 3 of them. In whole seconds, up to
  // 32,767 s; an idle of inf: no probes.
  absl::Duration keepalive_idle = absl::Seconds(10);
  absl::Duration keepalive_interval = absl::Seconds(5);
  int keepalive_probes = 3;
  // The peer has given no sign of life for so long though bytes or probes wait for its answer. One
  // that answers, and only reads late, slowly or not at all, is never ended by this. A link that is
  // whole again within this time lives: what the kernel sends again after it must stay unanswered,
  // too. inf: not looked for, and the kernel tells after some 15 minutes.
  absl::Duration unacknowledged_timeout = absl::Seconds(25);
  // Output that waits in user memory for one connection: reading stops at high, goes on at low, and
  // Write answers full past max.
  int64_t output_bytes_high = 64 * 1024;
  int64_t output_bytes_low = 16 * 1024;
  int64_t output_bytes_max = 1024 * 1024;
  // Input that a session did not consume and that is kept for it: one read (32 KiB) and one frame.
  int64_t input_bytes_max = 64 * 1024;
  // Unsent bytes the kernel takes for one socket (TCP_NOTSENT_LOWAT).
  int notsent_bytes_max = 128 * 1024;

  // The mode of the file of a UNIX socket that listens, such as 0660: who may write to it may
  // connect. 0: 0777 without what the process's umask takes away.
  int unix_file_mode = 0;

  // Addresses from --listen=; empty: what the program says.
  std::string listen;
  // Of the process's log, from the Runtime's constructor on; empty: as it is (info, unless set).
  std::string log_level;

  // Reads the common flags (--listen, which may be given more than once, --workers,
  // --max_connections, --at_limit, --accept_rate, --memory, --unix_mode, --log_level, and each
  // time-out above by its name) and the program's own Abseil flags. A bad flag or an argument that
  // is no flag prints one line on stderr and ends the process with code 1; --help, -h and --version
  // print on stdout and end it with 0.
  static Options FromFlags(int argc, char** argv);

  // The least memory_bytes_max with which a server works: a sixteenth of it, which is free whenever
  // reading goes on, must let every worker read; and one connection must be able to hold all that
  // it may. Requires: workers is not 0.
  int64_t MemoryBytesMin() const;

  // Fills in what is 0 from the machine, and says what is out of range. Raises the process's soft
  // limit of descriptors to the hard one where max_connections need more than it.
  absl::Status Complete(Os& os);
  // After Complete: what max_connections and all else need, as the system counts descriptors.
  int64_t DescriptorsWanted() const;
  // After Complete: so many connections can have descriptors at once. Below max_connections only
  // where the hard limit is.
  int64_t ConnectionsWithDescriptors(Os& os) const;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OPTIONS_H_
