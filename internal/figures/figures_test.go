package figures

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each field of each Stats is a figure, and no two fields the same one.
func TestEveryFieldIsAFigure(t *testing.T) {
	everyField(t, Pacer())
	everyField(t, Cache())
	everyField(t, Reuse())
	everyField(t, Gate())
	everyField(t, Throttled())
	everyField(t, Dial())
	everyField(t, Pool())
}

func everyField[S any](t *testing.T, all []Figure[S]) {
	t.Helper()
	stats := reflect.TypeFor[S]()
	require.Equal(t, stats.NumField(), len(all), "fields of %s, and figures: name each field here", stats)
	used := map[string]string{}
	for i := range stats.NumField() {
		field := stats.Field(i)
		f := movedBy(t, all, field)
		require.Empty(t, used[f.Name], "%s.%s is a second %s", stats, field.Name, f.Name)
		used[f.Name] = field.Name
		// What counts is unsigned in the library and an int64 in database/sql; what is
		// there now is an int; times are sums.
		counts := field.Type.Kind() == reflect.Uint64 || field.Type.Kind() == reflect.Int64 || field.Type.Kind() == reflect.Map
		require.Equal(t, counts, f.Counter, "%s.%s", stats, field.Name)
	}
}

// movedBy returns the figure that shows the field, and as it should: seconds for a
// duration, a series for each key of a map.
func movedBy[S any](t *testing.T, all []Figure[S], field reflect.StructField) Figure[S] {
	t.Helper()
	var s S
	want := map[string]float64{"": 7}
	v := reflect.ValueOf(&s).Elem().FieldByIndex(field.Index)
	switch v.Interface().(type) {
	case uint64:
		v.SetUint(7)
	case int, int64:
		v.SetInt(7)
	case time.Duration:
		v.SetInt(int64(7 * time.Second))
	case float64:
		v.SetFloat(7)
	case map[listener.Reason]uint64:
		v.Set(reflect.ValueOf(map[listener.Reason]uint64{listener.OverPending: 7, listener.OverRate: 8}))
		want = map[string]float64{"pending": 7, "rate": 8}
	default:
		t.Fatalf("%s.%s: no figure can be of type %s", reflect.TypeFor[S](), field.Name, field.Type)
	}
	moved := slices.DeleteFunc(slices.Clone(all), func(f Figure[S]) bool { return !maps.Equal(values(f, s), want) })
	require.Len(t, moved, 1, "figures that show %s.%s", reflect.TypeFor[S](), field.Name)
	return moved[0]
}

func values[S any](f Figure[S], s S) map[string]float64 {
	all := map[string]float64{}
	f.Each(s, func(label string, v float64) { all[label] = v })
	return all
}

func TestNames(t *testing.T) {
	names := map[string]bool{}
	check(t, names, Pacer())
	check(t, names, Cache())
	check(t, names, Reuse())
	check(t, names, Gate())
	check(t, names, Throttled())
	check(t, names, Dial())
	check(t, names, Pool())
}

func check[S any](t *testing.T, seen map[string]bool, all []Figure[S]) {
	t.Helper()
	for _, f := range all {
		require.Regexp(t, `^connhygiene\.[a-z]+(\.[a-z_]+)+$`, f.Name)
		require.Regexp(t, `^[A-Z].*\.$`, f.Help, f.Name)
		require.False(t, seen[f.Name] || seen[f.Prometheus()], "twice: %s", f.Name)
		seen[f.Name], seen[f.Prometheus()] = true, true
		require.Equal(t, f.Counter, strings.HasSuffix(f.Prometheus(), "_total"), f.Name)
	}
}
