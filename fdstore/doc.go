// Package fdstore keeps open files in a Unix socket, for any process that
// holds the socket to fetch: any file, in any order, any number of times.
//
// A store is one datagram socket connected to itself, the root. Adding sends it
// a message that carries open files (SCM_RIGHTS); getting sets the peek offset
// of its receive queue (SO_PEEK_OFF) and peeks (MSG_PEEK), so that the message
// stays where it is:
//
//	 Add, AddGroup ──▶ ┌───────────┬───────────┬───────────┬───────────┐
//	 (send to itself)  │ number,   │ number, 0 │ number, 1 │ number, 2 │ receive
//	                   │ header    │ 1 file    │ 253 files │ 2 files   │ queue
//	                   └───────────┴───────────┴───────────┴───────────┘
//	peek offset        0           16          32          48
//	                               ▲
//	                 Get, GetGroup peek at wire.Word.Offset, nothing is removed
//
// Beyond a few dozen messages the store stores sockets of the same kind in the
// root, and the messages in those: see [Layout]. A process that holds the root
// reaches them all.
//
// The payload of a message is [wire.PayloadSize] bytes: two uint64 in native byte
// order, the store's [Store.Number] and the message's [wire.Word], which says where it
// belongs and how many files it carries. What is stored is the open file (the
// open file description of open(2)), with its offset and its flags, which all
// who hold it share; close-on-exec belongs to a descriptor and is not stored.
//
// # Ownership
//
// Add, AddGroup and AddFDs borrow: the caller closes its own files, before or
// after, as it likes. Get and GetGroup give: the caller closes what it got,
// and every descriptor arrives close-on-exec. [Store.FD] lends. The store keeps
// its files open until the last descriptor of its socket is closed in the last
// process that holds one, which for the maker is [Store.Close].
//
// # Other processes
//
// The maker adds. [Store.AddToCmd] gives a program the store, and there
// [Inherited] opens it; any other way to hand over a descriptor will do, with [Open].
// Such a process gets by number, or by name ([Store.GetNamed], [Store.Listener]); it
// needs nothing else of the maker, which may be gone. [Store.All] says what there
// is, [Store.CopyTo] copies all of it. Names and the list are in the catalog, a memfd
// that the header carries; docs/fdstore-format.md writes the whole layout down.
//
// # The next writer
//
// One process at a time adds: the maker, until it ends or calls [Store.Resign]. Then
// any other one that has the store may call [Store.Adopt] and go on, also where the
// last one was killed in the middle of an add. So a store outlives the generations of
// a program, upgrade by upgrade.
//
// # Pulling without this package
//
// A forked task without a Go runtime, or a program in another language, holds
// a descriptor of the root ([Store.FD]) and pulls the message with a word that
// [wire.Layout.Place] gives, after the sockets on its way, with two system calls
// each. The peek offset belongs to the socket, hence to all processes; whoever
// calls between the two makes the second one deliver somebody else's files, as
// TestRace counts: up to every fourth. So nothing is believed before it is checked:
//
//	n = word.Files()
//	for try in 1..MaxTries {
//	        off = word.Offset()                    // int32, 16 x position
//	        setsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &off, 4)
//	                                               // EINTR: again
//	        iov  = 1 buffer of PayloadSize bytes
//	        msg  = {name: none, iov, control, controllen: CMSG_LEN(4*n), flags: 0}
//	        got  = recvmsg(sock, &msg, MSG_PEEK|MSG_DONTWAIT|MSG_CMSG_CLOEXEC)
//	                                               // EINTR, EAGAIN: next try
//	        came = msg.controllen < CMSG_LEN(4) ? 0 :  // no control message
//	               (cmsg.len - CMSG_LEN(0)) / 4    // if SOL_SOCKET, SCM_RIGHTS
//	        if got == PayloadSize && !(msg.flags & (MSG_CTRUNC|MSG_TRUNC)) &&
//	           payload == {Number, word} && came == n {
//	                return the n descriptors       // in the order of AddGroup
//	        }
//	        close(all that came)                   // even with a wrong payload
//	        if payload == {Number, word} && msg.flags & MSG_CTRUNC {
//	                fail: no descriptors left (RLIMIT_NOFILE)
//	        }
//	}
//	fail
//
// The kernel updates msg.controllen and msg.flags on return: set both before
// each try. Give CMSG_LEN and not CMSG_SPACE, whose padding has room for one
// descriptor more than an odd n. Each try may place up to n descriptors on the
// lowest free numbers, and a failed one closes them again. That close is a real
// one, see Limits: POSIX record locks. So take such locks after the last pull. Get is
// no different.
//
// # Who can do what
//
// A holder of the socket is trusted. It can pull every file, delay others by moving
// the peek offset all the time (they get [ErrContended]), and destroy the store: a
// plain recv takes messages out, a message of its own shifts those behind it, connect(AF_UNSPEC)
// empties the socket and lets strangers send. Adds that nobody could get are not
// said to be added: an add notices within 64 messages (in a [Flat] store, by the
// time that their number has doubled) what was done to its queue, Seal looks again,
// and [Store.Verify] looks at everything. What a holder cannot do by
// accident is to make others take a wrong file for a right one: the number and
// the position are checked at each get, and what fails them is an error. A
// holder that copies the number into messages of its own can deceive.
//
// A holder can make others wait. While the kernel copies a message for one, it has
// the socket's lock; if that copy faults into memory whose owner does not answer
// (userfaultfd, a file of a FUSE file system that is mapped), every other get from
// this socket waits, in state D, and not even SIGKILL ends it until the page comes or the
// holder dies. Nothing in user space helps. So [Store.Close], [Store.FD], [Store.Len],
// [Store.Lookup], [Store.List] and [Store.Sealed] wait for no get; [Store.Seal] and
// [Store.Verify] do need the lock, and an add once in 64 messages. A process that is
// stopped or killed anywhere else harms nobody: there is no lock but the kernel's.
//
// Strangers, which do not hold the socket, see its random abstract name in
// /proc/net/unix, in the same network namespace, and can do nothing with it:
// to a socket that is connected to itself the kernel answers EPERM. Between
// bind and connect it would let them in, so [New] looks into the queue after
// the connect and throws away a socket in which something lies.
//
// # Limits: room
//
// A message carries 1 to [MaxGroup] files, and costs 768 bytes of its socket's
// send buffer. In a [Nested] store only the root's queue grows, by one message
// for 4096 that are added: the 277 that fit into the buffer which any socket has
// (212992 bytes) are enough for 870,000 messages. A [Flat] store with
// CAP_NET_ADMIN (in the initial user namespace) gets a buffer of 2 GiB, about
// 2.8 million messages; without it twice net.core.wmem_max: 555 messages where
// that is 212992 bytes, as it was by default for long, 10,900 where it is 4 MiB,
// as on Linux 6.18. What is too much is [ErrFull] at once; nothing here ever
// waits for room.
//
// # Limits: memory
//
// A message takes 5 KiB of kernel memory (measured on Linux 6.18), however many
// files it carries: the kernel has a list with room for 253. Most of it counts for
// the memory cgroup of the process that adds, so a store can end in an OOM kill: by
// default it takes half of the cgroup's limit at most, see [Options.MaxMessages].
//
// # Limits: files in flight, of all programs of a user
//
// Files in flight, that is in all stores and sockets of one user, are limited
// to the soft RLIMIT_NOFILE of the process that sends, unless it has
// CAP_SYS_RESOURCE or CAP_SYS_ADMIN: [ErrInFlight]. The count is the user's, the limit is
// each process's own. So a store takes from others: where one program has stored
// 3,000 files, another of the same user whose limit is 1,024 cannot pass a single
// descriptor to anybody (ETOOMANYREFS) until the store is gone. Run such programs
// as users of their own, or with the same limit.
//
// # Limits: POSIX record locks
//
// A get may receive files that were meant for another process, and closes them
// again. A process that closes any descriptor of an inode loses all its POSIX
// record locks on it (F_SETLK, see fcntl(2)): also by a get of another file of the
// store, as TestRecordLocks shows. SQLite uses such locks. A process that holds them
// on an inode that is in the store gets nothing from it while it does, or uses locks
// of the open file (F_OFD_SETLK, flock), which stay. [Store.Verify] receives no files.
//
// # Limits: time
//
// The kernel walks the queue to the message: a get at the head costs two dups,
// and 5 to 50 ns more for each message before it, depending on the caches. That
// is why large stores are nested: a get costs 2 to 4 times as much at 100,000
// messages as at 10, where a flat queue makes it 1,000 times. A Store that gets
// keeps nested sockets open for later gets, up to an eighth of its soft
// RLIMIT_NOFILE and 2048 of them: see [Store.SetKept]. In a group a file
// costs half a dup. So files that are used together belong into one message.
//
// # Limits: the collector of Linux 5.10
//
// Kernels that look for unreachable sockets at each close of a Unix socket, as Linux
// 5.10 does and 6.1.192 does not, walk the queues of a nested store's shards each time, for
// every program of the machine: with 10,000 files a pair of sockets took 80 times as
// long. There, which is tried and not told by a version, the maker keeps its full
// shards open, for these are not walked: one descriptor for 64 messages, up to half
// of its soft RLIMIT_NOFILE. It lasts as long as the maker has the store open; when
// only others hold it, the time is lost again. A [Flat] store has no such cost.
//
// # Limits: what cannot be stored
//
// Some files cannot be sent: io_uring instances since Linux 6.7, and since the
// stable releases that took the same change ([ErrCannotSend]). A store may be
// put into another one; put into itself, or two into each other, they live on
// until the kernel's collector for such loops finds them.
//
// # Kernel versions
//
// All that is needed is older than Linux 5.10: SO_PEEK_OFF on Unix sockets 3.4,
// SO_LOCK_FILTER 3.9, memfd_create 3.17,
// MSG_CMSG_CLOEXEC 2.6.23, SO_SNDBUFFORCE 2.6.14. See unix(7), socket(7),
// cmsg(3), and net/unix/af_unix.c for the EPERM of unix_may_send. The idea is
// that of CRIU's fdstore of 2017.
package fdstore
