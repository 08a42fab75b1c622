// Package fdstore keeps open files in a Unix socket. Any process that has the socket
// can get any of the files, in any order, any number of times.
//
// A store is a datagram socket connected to itself, the root. An add sends it a
// message that carries open files (SCM_RIGHTS). A get sets the peek offset of its
// receive queue (SO_PEEK_OFF) and peeks (MSG_PEEK), so the message stays in the
// queue:
//
//	 Add, AddGroup ──▶ ┌───────────┬───────────┬───────────┬───────────┐
//	 (send to itself)  │ number,   │ number, 0 │ number, 1 │ number, 2 │ receive
//	                   │ header    │ 1 file    │ 253 files │ 2 files   │ queue
//	                   └───────────┴───────────┴───────────┴───────────┘
//	peek offset        0           16          32          48
//	                               ▲
//	                 Get, GetGroup peek at wire.Word.Offset, nothing is removed
//
// Beyond a few dozen messages the root contains further sockets of the same kind,
// whose queues contain the messages: see [Layout]. The root's descriptor is enough to
// reach them all.
//
// The payload of a message is [wire.PayloadSize] bytes: two uint64 in native byte
// order, the store's [Store.Number] and the message's [wire.Word], which contains its
// queue, its position and how many files it carries. The store keeps open files (open
// file descriptions, see open(2)), with offset and flags, which all processes share.
// Close-on-exec belongs to a descriptor and is not stored.
//
// # Ownership
//
// Add, AddGroup and AddFDs borrow: the caller still closes its own files, at any time
// after the call. Get and GetGroup transfer ownership: the caller closes what it got,
// and every descriptor is close-on-exec. [Store.FD] lends. The files stay open until
// the last descriptor of the store's socket is closed, in all processes; [Store.Close]
// closes that of this process.
//
// # Other processes
//
// The maker adds files. [Store.AddToCmd] passes the store to a program that it starts,
// and that program opens it with [Inherited]. A descriptor that arrives in any other
// way is opened with [Open]. These processes get files by number, or by name
// ([Store.GetNamed], [Store.Listener]), even if the maker has ended. [Store.All] lists
// the messages, [Store.CopyTo] copies them to another store. Names and list are in the
// catalog, a memfd that the header carries. docs/fdstore-format.md describes the layout.
//
// # The next writer
//
// One process at a time adds, the writer. It is the maker, until it ends or calls
// [Store.Resign]. Then any other process that has the store may call [Store.Adopt] and
// become the writer, even if the last one was killed in the middle of an add. So a
// store outlives the generations of a program.
//
// # Pulling without this package
//
// A forked task without a Go runtime, or a program in another language, needs a
// descriptor of the root ([Store.FD]). [wire.Layout.Place] returns the word of the
// message, and the words of the nested sockets to pull first. Each pull is two system
// calls. The peek offset belongs to the socket, so all processes share it: if another
// process sets it between the two calls, the second call returns the files of another
// message. TestRace counts how often: up to every fourth pull. So check the payload
// before using anything:
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
// each try. Use CMSG_LEN and not CMSG_SPACE, whose padding has space for one
// descriptor more if n is odd. Each try may use up to n of the lowest free descriptor
// numbers, and a failed try closes these descriptors again. This close releases POSIX
// record locks, see below: take such locks after the last pull. The same is true for
// Get.
//
// # Who can do what
//
// All holders of the socket are trusted. A holder can pull every file, delay others by
// moving the peek offset all the time (they get [ErrContended]), and destroy the store:
// a plain recv removes messages, a message of its own shifts all later messages,
// and connect(AF_UNSPEC) empties the socket and lets other processes send.
//
// An add that no process could get is reported as an error: an add detects a changed
// queue within 64 messages (in a [Flat] store, at the latest when the number of messages
// has doubled), Seal checks again, and [Store.Verify] checks everything. A holder
// cannot by accident make others use a wrong file: each get checks the number and the
// position, and a mismatch is an error. A holder that copies the number into messages of
// its own can pass off a wrong file.
//
// A holder can make others wait. While the kernel copies a message to a process, it
// holds the socket's lock. If the copy faults on memory whose owner does not answer
// (userfaultfd, a mapped file of a FUSE file system), every other get from this socket
// waits in state D. Not even SIGKILL ends the wait, until the page arrives or the holder
// dies. User space cannot avoid this. So [Store.Close], [Store.FD], [Store.Len],
// [Store.Lookup], [Store.List] and [Store.Sealed] never wait for a get. [Store.Seal] and
// [Store.Verify] need the lock, and so does one add in 64. A process that is stopped or
// killed anywhere else blocks no other process: the kernel's lock is the only one.
//
// Processes that do not have the socket see its random abstract name in /proc/net/unix,
// if they are in the same network namespace. They cannot use it: the kernel refuses a
// send to a socket that is connected to itself with EPERM. Between bind and connect they
// could send, so [New] checks that the queue is empty after connect, and discards the
// socket if it is not.
//
// # Limits: space
//
// A message carries 1 to [MaxGroup] files, and uses 768 bytes of its socket's
// send buffer. In a [Nested] store only the root's queue grows without limit, by one
// message for 4096 added. The buffer that any socket has (212992 bytes) has space for
// 277, enough for 870,000 messages. A [Flat] store with CAP_NET_ADMIN (in the initial
// user namespace) gets a buffer of 2 GiB, about 2.8 million messages. Without it the
// buffer is twice net.core.wmem_max: 555 messages if that is 212992 bytes, the default
// for a long time, and 10,900 if it is 4 MiB, as on Linux 6.18. An add beyond the limit
// fails at once with [ErrFull]; it never waits for space.
//
// # Limits: memory
//
// A message takes 5 KiB of kernel memory (measured on Linux 6.18), however many
// files it carries: the kernel allocates a list for 253. Most of it is charged to the
// memory cgroup of the process that adds, so a large store could cause an OOM kill. By
// default a store uses at most half of the cgroup's limit, see [Options.MaxMessages].
//
// # Limits: files in flight, of all programs of a user
//
// The files in flight of a user, in all stores and sockets together, are limited
// to the soft RLIMIT_NOFILE of the process that sends, unless it has
// CAP_SYS_RESOURCE or CAP_SYS_ADMIN: [ErrInFlight]. The count is that of the user, the
// limit that of each process. So a store affects other programs: if one program has
// stored 3,000 files, another program of the same user with a limit of 1,024 cannot send
// any descriptor to any process (ETOOMANYREFS) until the store is gone. Run such
// programs as different users, or with the same limit.
//
// # Limits: POSIX record locks
//
// A get may receive files of another message, and closes them again. A process that
// closes any descriptor of an inode loses all its POSIX record locks on the inode
// (F_SETLK, see fcntl(2)). This can happen in a get of any other file of the store, as
// TestRecordLocks shows. SQLite uses such locks. So while a process has them on an inode
// in the store, it must not get anything from the store; or it uses locks of the open
// file (F_OFD_SETLK, flock), which stay. [Store.Verify] receives no files.
//
// # Limits: time
//
// The kernel walks the queue up to the message: a get at the head costs as much as two
// dups, and 5 to 50 ns more for each message before it, depending on the caches.
// Therefore large stores are nested: a get costs 2 to 4 times as much at 100,000
// messages as at 10; in a flat queue it costs 1,000 times as much. A Store keeps nested
// sockets open for later gets, up to an eighth of its soft RLIMIT_NOFILE and at most
// 2048: see [Store.SetKept]. A file in a group costs half as much as a dup. So put
// files that are used together into one message.
//
// # Limits: the garbage collector of Linux 5.10
//
// Some kernels search for unreachable sockets at each close of a Unix socket: Linux
// 5.10 does, 6.1.192 does not. They walk the queues of a nested store's shards each
// time, for every program of the machine: beside 10,000 files a pair of sockets took 80
// times as long. New tests whether the kernel does this. If so, the writer keeps its
// full shards open, because these are not walked: one descriptor for 64 messages, up to
// half of its soft RLIMIT_NOFILE. When the writer has closed the store and only other
// processes have it, the closes are slow again. A [Flat] store does not have this
// problem.
//
// # Limits: files that cannot be stored
//
// Some files cannot be sent: io_uring instances since Linux 6.7, and in the
// stable releases that have the same change ([ErrCannotSend]). A store may be
// put into another store. If it is put into itself, or two are put into each other, they
// live until the kernel's garbage collector finds the cycle.
//
// # Kernel versions
//
// Everything that is needed is older than Linux 5.10: SO_PEEK_OFF on Unix sockets 3.4,
// SO_LOCK_FILTER 3.9, memfd_create 3.17, MSG_CMSG_CLOEXEC 2.6.23, SO_SNDBUFFORCE
// 2.6.14. See unix(7), socket(7), cmsg(3), and net/unix/af_unix.c for the EPERM of
// unix_may_send. The idea is that of CRIU's fdstore of 2017.
package fdstore
