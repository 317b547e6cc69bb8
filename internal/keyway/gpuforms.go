package keyway

import (
	"slices"
	"strconv"
	"strings"
)

// ParseGPUs reads a choice of GPUs as people type it: all, none, a number of GPUs, UUIDs
// separated by commas, or a request of docker run --gpus.
func ParseGPUs(s string) (GPUs, error) {
	switch s {
	case "all":
		return GPUs{All: true}, nil
	case "", "none", "0":
		return GPUs{}, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > maxGPUs {
			return GPUs{}, Errorf(Usage, "%s GPUs cannot be asked for: from 0 to %d can", s, maxGPUs).Advise(GPUForms)
		}
		return GPUs{Count: n}, nil
	}
	if strings.Contains(s, "=") {
		return parseRequest(s)
	}
	return gpusByID(strings.Split(s, ","), false)
}

// parseRequest reads Docker's KEY=VALUE,…, in which a value with commas may be quoted:
// "device=0,2",capabilities=utility. Of the keys, count and device choose the GPUs; driver and
// capabilities must name what every workspace has.
func parseRequest(s string) (GPUs, error) {
	var ids []string
	count, key := "", ""
	for part := range strings.SplitSeq(strings.NewReplacer(`"`, "", "'", "").Replace(s), ",") {
		name, value, named := strings.Cut(part, "=")
		switch {
		case named && name+"=" != CDIPrefix:
			key = name
		case key == "" || key == "count" || key == "driver":
			key, value = "count", part
		default: // another item of the value before
			value = part
		}
		switch {
		case key == "device":
			ids = append(ids, strings.TrimPrefix(value, CDIPrefix))
		case key == "count" && count == "" && value != "":
			count = value
		case key == "capabilities" && slices.Contains(GPUCapabilities, value):
		case key == "driver" && (value == "nvidia" || value == "cdi" || value == ""):
		default:
			return GPUs{}, Errorf(Usage, "%.80q is no request for GPUs that a workspace can have", part).Advise(GPUForms)
		}
	}
	switch {
	case ids != nil && count != "":
		return GPUs{}, Errorf(Usage, "a number of GPUs and their names exclude each other in %.80q", s).Advise(GPUForms)
	case slices.Equal(ids, []string{"all"}) || count == "-1":
		return GPUs{All: true}, nil
	case ids != nil:
		return gpusByID(ids, true)
	case count == "": // as Docker
		return GPUs{Count: 1}, nil
	case strings.Contains(count, "="):
		return GPUs{}, Errorf(Usage, "%.80q is not a number of GPUs", count).Advise(GPUForms)
	}
	return ParseGPUs(count)
}

// CDIPrefix begins CDI's names of NVIDIA's GPUs.
const CDIPrefix = "nvidia.com/gpu="

// GPUCapabilities lists the capabilities of a request that every GPU has here anyway.
var GPUCapabilities = []string{"gpu", "nvidia", "compute", "utility"}

// gpusByID returns the GPUs of these UUIDs, or also indices.
func gpusByID(ids []string, indices bool) (GPUs, error) {
	for _, id := range ids {
		gpu, part, divided := strings.Cut(id, ":") // 0:1 is a part of a GPU that is divided (MIG)
		_, err := strconv.ParseUint(gpu, 10, 16)
		if _, bad := strconv.ParseUint(part, 10, 16); divided && bad != nil {
			err = bad
		}
		uuid := strings.HasPrefix(id, "GPU-") || strings.HasPrefix(id, "MIG-")
		if !(uuid || indices && err == nil) || len(id) > 128 || strings.ContainsAny(id, " \t\r\n\"'\\") {
			return GPUs{}, Errorf(Usage, "%q is not a GPU", id).
				Advise(GPUForms)
		}
	}
	return GPUs{IDs: ids}, nil
}
