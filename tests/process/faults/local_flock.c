/* Preload: flock(2) seen on one machine alone, as on NFS with local_lock=flock or on Lustre with
   localflock. The folder $MACHINE_LOCKS stands for a machine: it has a lock file for each file, and
   a descriptor's lock is a second descriptor, of that file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
static int locks[MOST];

static int really_close(int descriptor) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
  return real(descriptor);
}

static void drop(int descriptor) {
  if (descriptor < 0 || descriptor >= MOST || !locks[descriptor]) return;
  int lock = locks[descriptor];
  locks[descriptor] = 0;
  really_close(lock);
}

int close(int descriptor) {
  drop(descriptor);
  return really_close(descriptor);
}

int flock(int descriptor, int operation) {
  int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  struct stat file;
  char path[4096];
  if (operation & LOCK_UN) return drop(descriptor), 0;
  if (fstat(descriptor, &file)) return -1;
  snprintf(path, sizeof path, "%s/%lx-%lx", getenv("MACHINE_LOCKS"), (long)file.st_dev,
           (long)file.st_ino);
  int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) return -1;
  if (real(lock, operation)) {
    really_close(lock);
    return -1;
  }
  drop(descriptor);
  locks[descriptor] = lock;
  return 0;
}
