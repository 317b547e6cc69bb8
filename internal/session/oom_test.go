//go:build linux

package session

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestOOMCounter(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.events": "low 0\noom 5\noom_kill 2\noom_group_kill 0\n",
		}, 2},
		"version 2 in a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "oom_kill 3\n",
		}, 3},
		"version 1": {map[string]string{
			"proc/self/cgroup": "5:cpu,memory:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/docker/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
		}, 4},
		"version 1 in a container": {map[string]string{
			"proc/self/cgroup": "5:memory:/docker/x\n", "sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\noom_kill 1\n",
		}, 1},
		"no control group": {map[string]string{"proc/vmstat": "nr_free_pages 7\noom_kill 6\n"}, 6},
		"nothing":          {nil, 0},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		counter := openOOMCounter(root)
		var readers sync.WaitGroup
		for range 2 { // a holder reads it every second, and when the job has ended
			readers.Go(func() {
				if got := counter.Kills(); got != c.want {
					t.Errorf("%s: %d, want %d", name, got, c.want)
				}
			})
		}
		readers.Wait()
		counter.Close()
	}
}
