package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/jupyter/wire"
)

// fullDisk mounts a small disk and fills it. free makes room again.
func fullDisk(t *testing.T) (dir string, fill, free func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	fill = func() {
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
			t.Fatal("1 MB fits")
		}
	}
	return dir, fill, func() { _ = os.Remove(filler) }
}

// TestFullDisk checks that messages wait in memory while the disk is full. They are shown, and are
// written when the disk has room.
func TestFullDisk(t *testing.T) {
	disk, fill, free := fullDisk(t)
	dir := filepath.Join(disk, "kernel")
	j := open(t, dir, Default)
	e := begin(t, j, "req")
	appendAll(t, e, printed("before\n"))
	fill()
	want := "before\n"
	for i := range 1000 {
		line := strings.Repeat("x", i%60) + "\n"
		want += line
		_ = e.Append(printed(line)) // the disk may have a little room left
	}
	late, err := j.Begin(ask("late", "1"))
	if err == nil {
		t.Fatal("the disk is not full")
	}
	_, _ = e.Append(replied()), e.Append(status("idle"))
	if got := shown(t, e); got != want {
		t.Errorf("on a full disk, it shows %d bytes, not %d", len(got), len(want))
	}
	if code, err := late.Source(); code != "1" || err != nil {
		t.Errorf("%q, %v", code, err)
	}
	free()
	for end := time.Now().Add(time.Minute); j.Retry() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not written")
		}
	}
	j.Close()
	j = open(t, dir, Default)
	if got := shown(t, j.Find("req")); got != want || !j.Find("req").Finished() {
		t.Errorf("from the disk, it shows %d bytes, not %d", len(got), len(want))
	}
	if code, err := j.Find("late").Source(); code != "1" || err != nil {
		t.Errorf("%q, %v", code, err)
	}
}

// TestFullDiskUnderALargeMessage checks a disk that becomes full in the middle of a large message.
// The journal has the message or a part of its text, and a notice of the missing part. Later
// messages are complete.
func TestFullDiskUnderALargeMessage(t *testing.T) {
	for name, m := range map[string]wire.Message{
		"text":    printed(strings.Repeat("0123456789\n", 50_000)),
		"picture": said("display_data", map[string]any{"data": map[string]string{"image/png": strings.Repeat("QUFB", 125_000)}}),
	} {
		t.Run(name, func(t *testing.T) {
			disk, fill, free := fullDisk(t)
			limits := Default
			limits.Owed = 10_000
			j := open(t, filepath.Join(disk, "kernel"), limits)
			e := begin(t, j, "req")
			if e.Append(m) == nil {
				t.Fatal("500 kB are on a disk of 256 kB")
			}
			fill()
			_ = e.Append(printed("after\n"))
			free()
			for end := time.Now().Add(time.Minute); j.Retry() != nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it is not written")
				}
			}
			_, _ = e.Append(replied()), e.Append(status("idle")) // there may be no room to compact the file
			j.Close()
			e = open(t, j.dir, limits).Find("req")
			if got := shown(t, e); strings.Count(got, "left out") != 1 || !strings.HasSuffix(got, "after\n") || len(got) > 256<<10 || !e.Finished() {
				t.Errorf("ended: %v; %d bytes: %.100q … %.100q", e.Finished(), len(got), got, got[max(0, len(got)-100):])
			}
		})
	}
}

// TestFullDiskForLong checks that output beyond Limits.Owed is lost, that the output says so, and
// that the cell ends.
func TestFullDiskForLong(t *testing.T) {
	disk, fill, free := fullDisk(t)
	limits := Default
	limits.Owed = 10_000
	j := open(t, filepath.Join(disk, "kernel"), limits)
	e := begin(t, j, "req")
	appendAll(t, e, printed("before\n"))
	fill()
	for range 100 {
		_ = e.Append(printed(strings.Repeat("lost", 2000)))
		var waits int
		for _, e := range j.queued {
			waits += len(e.queue)
		}
		if waits > 10_000 {
			t.Fatalf("%d bytes wait in memory", waits)
		}
	}
	_, _ = e.Append(replied()), e.Append(status("idle"))
	check := func(e *Execution) {
		t.Helper()
		if got := shown(t, e); !strings.HasPrefix(got, "before\n") || strings.Count(got, "left out") == 0 || !e.Finished() {
			t.Errorf("ended: %v; %.300q", e.Finished(), got)
		}
	}
	check(e)
	free()
	j.Close()
	check(open(t, j.dir, limits).Find("req"))
}
