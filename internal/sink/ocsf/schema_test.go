package ocsf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// schema is the table in testdata.
type schema struct {
	Classes map[string]shape
	Objects map[string]shape
}

type shape struct {
	CategoryUID int `json:"category_uid"`
	ClassUID    int `json:"class_uid"`
	Attributes  map[string]attribute
	Constraints map[string][]string
}

type attribute struct {
	Requirement string
	Type        string
	Object      string
	Profile     string
	IsArray     bool `json:"is_array"`
	Enum        map[string]string
}

var table = sync.OnceValues(func() (*schema, error) {
	b, err := os.ReadFile("testdata/schema.json")
	if err != nil {
		return nil, err
	}
	s := &schema{}
	return s, json.Unmarshal(b, s)
})

// newerThan11 are the attributes that 1.1.0 does not have yet, by the release
// notes of 1.2 to 1.8, of those that could stand here.
var newerThan11 = map[string][]string{
	"process_activity":  {"launch_type", "launch_type_id", "is_alert", "policy", "risk_level", "confidence_id", "requested_permissions"},
	"file_activity":     {"is_alert", "policy", "access_mask"},
	"detection_finding": {"is_alert", "policy", "vendor_attributes", "action_id", "disposition_id", "disposition", "attacks"},
	"metadata":          {"is_truncated", "untruncated_size", "reporter", "source", "transformation_info_list", "debug", "tags"},
	"process":           {"cpid", "ancestry", "working_directory", "environment_variables", "path", "ptid"},
	"device":            {"boot_uid", "agent_list", "owner", "os_machine_uuid", "vendor_name", "model"},
	"os":                {"kernel_release"},
	"file":              {"is_deleted", "ext", "uri", "drive_type", "drive_type_id", "internal_name", "tags", "volume", "is_encrypted"},
	"policy":            {"is_applied", "data", "type"},
	"attack":            {"sub_technique", "mitigation"},
	"evidences":         {"container", "database", "databucket", "device", "user", "job", "script", "verdict", "verdict_id", "name", "uid"},
	"user":              {"has_mfa", "risk_level", "phone_number", "forward_addr", "display_name"},
}

// checker holds a record against the table.
type checker struct {
	s        *schema
	v11      bool
	profiles []string
	problems []string
}

// check returns what is wrong with a record.
func check(body []byte, v11 bool) ([]string, error) {
	s, err := table()
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var r map[string]any
	if err := d.Decode(&r); err != nil {
		return nil, err
	}
	c := &checker{s: s, v11: v11}
	meta, _ := r["metadata"].(map[string]any)
	list, _ := meta["profiles"].([]any)
	for _, p := range list {
		name := fmt.Sprint(p)
		c.profiles = append(c.profiles, name[strings.IndexByte(name, '/')+1:])
	}
	uid := number(r["class_uid"])
	for name, class := range s.Classes {
		if class.ClassUID != uid {
			continue
		}
		c.object(name, name, class, r)
		c.equal("category_uid", number(r["category_uid"]), class.CategoryUID)
		c.equal("type_uid", number(r["type_uid"]), uid*100+number(r["activity_id"]))
		c.caption(r, "activity_id", "activity_name", class)
		want := "1.8.0"
		if v11 {
			want = "1.1.0"
		}
		if meta["version"] != want {
			c.say("metadata.version", "is %v, not %s", meta["version"], want)
		}
		return c.problems, nil
	}
	return nil, fmt.Errorf("class %d is not in the table", uid)
}

func number(v any) int {
	n, _ := v.(json.Number)
	i, err := strconv.Atoi(n.String())
	if err != nil {
		return -1
	}
	return i
}

func (c *checker) equal(what string, got, want int) {
	if got != want {
		c.say(what, "is %d, not %d", got, want)
	}
}

func (c *checker) say(at, format string, args ...any) {
	c.problems = append(c.problems, at+": "+fmt.Sprintf(format, args...))
}

func (c *checker) active(a attribute) bool {
	return a.Profile == "" || slices.Contains(c.profiles, a.Profile)
}

func (c *checker) object(at, name string, s shape, v map[string]any) {
	for k, a := range s.Attributes {
		if _, there := v[k]; a.Requirement == "required" && c.active(a) && !there {
			c.say(at, "%s is required", k)
		}
	}
	for kind, of := range s.Constraints {
		n := 0
		for _, k := range of {
			if _, there := v[k]; there {
				n++
			}
		}
		if kind == "at_least_one" && n == 0 || kind == "just_one" && n != 1 {
			c.say(at, "%s of %v is not so", kind, of)
		}
	}
	for k, x := range v {
		a, known := s.Attributes[k]
		switch {
		case !known:
			c.say(at, "%s is unknown", k)
		case !c.active(a):
			c.say(at, "%s needs the profile %s", k, a.Profile)
		case c.v11 && slices.Contains(newerThan11[name], k):
			c.say(at, "%s is newer than 1.1", k)
		case a.IsArray:
			list, ok := x.([]any)
			if !ok {
				c.say(at, "%s is no array", k)
			}
			for _, e := range list {
				c.value(at+"."+k+"[]", k, a, e)
			}
		default:
			c.value(at+"."+k, k, a, x)
		}
		if id, ok := strings.CutSuffix(k, "_id"); ok && known && a.Enum != nil {
			c.caption(v, k, id, s)
		}
	}
}

// caption: the word beside a number must be the one that belongs to it.
func (c *checker) caption(v map[string]any, id, name string, s shape) {
	word, there := v[name].(string)
	if want := s.Attributes[id].Enum[fmt.Sprint(v[id])]; there && word != want {
		c.say(name, "is %q beside %s %v, which is %q", word, id, v[id], want)
	}
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// generic are enumerations that the table has in the form of the base class.
var generic = []string{"class_uid", "category_uid"}

func (c *checker) value(at, key string, a attribute, v any) {
	if a.Object == "object" || a.Type == "json_t" || a.Type == "object" {
		return // anything
	}
	if a.Object != "" {
		m, ok := v.(map[string]any)
		if !ok {
			c.say(at, "is no object")
			return
		}
		c.object(at, a.Object, c.s.Objects[a.Object], m)
		return
	}
	switch x := v.(type) {
	case json.Number:
		n, err := x.Int64()
		if !slices.Contains([]string{"integer_t", "long_t", "timestamp_t", "port_t", "float_t"}, a.Type) || err != nil {
			c.say(at, "%v is no %s", x, a.Type)
		}
		if a.Type == "integer_t" && (n > math.MaxUint32 || n < math.MinInt32) {
			c.say(at, "%v does not fit an integer", x)
		}
		if _, ok := a.Enum[x.String()]; a.Enum != nil && !ok && !slices.Contains(generic, key) {
			c.say(at, "%v is not one of %v", x, a.Enum)
		}
		if c.v11 && key == "action_id" && n > 2 {
			c.say(at, "%v is newer than 1.1", x)
		}
	case string:
		if slices.Contains([]string{"integer_t", "long_t", "timestamp_t", "boolean_t", "port_t", "float_t"}, a.Type) {
			c.say(at, "%q is no %s", x, a.Type)
		}
		if a.Type == "uuid_t" && !uuidForm.MatchString(x) {
			c.say(at, "%q is no UUID", x)
		}
	case bool:
		if a.Type != "boolean_t" {
			c.say(at, "%v is no %s", x, a.Type)
		}
	default:
		c.say(at, "%v is no %s", v, a.Type)
	}
}
