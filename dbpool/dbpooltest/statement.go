package dbpooltest

import (
	"regexp"
	"strconv"
	"strings"
)

// verb returns the first word of a statement in capitals.
func verb(query string) string {
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n("), " ")
	word, _, _ = strings.Cut(word, "\n")
	return strings.ToUpper(strings.TrimRight(word, ";"))
}

// ends reports whether a statement ends a transaction.
func ends(query string) bool {
	switch verb(query) {
	case "COMMIT", "END", "ROLLBACK", "ABORT":
		return true
	}
	return false
}

// yieldsRows reports whether a statement returns rows.
func yieldsRows(query string, r *Result) bool {
	if r == nil || len(r.Columns) == 0 {
		return false
	}
	switch verb(query) {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return strings.Contains(strings.ToUpper(query), "RETURNING")
	case "SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "FETCH", "CALL":
		return true
	}
	return false
}

var placeholder = regexp.MustCompile(`\$(\d{1,5})`)

// parameters returns the largest n of all $n in a query.
func parameters(query string) int {
	most := 0
	for _, found := range placeholder.FindAllStringSubmatch(query, -1) {
		n, _ := strconv.Atoi(found[1])
		most = max(most, n)
	}
	return min(most, 1<<16-1)
}

// split returns the statements of a text, without comments and empty ones. It knows
// quotes, and no dollar quoting.
func split(text string) []string {
	var queries []string
	var query strings.Builder
	end := func() {
		if q := strings.TrimSpace(query.String()); q != "" {
			queries = append(queries, q)
		}
		query.Reset()
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ';':
			end()
		case strings.HasPrefix(text[i:], "--"):
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				n = len(text) - i
			}
			i += n - 1
		case c == '\'' || c == '"':
			n := strings.IndexByte(text[i+1:], c)
			if n < 0 {
				n = len(text) - i - 2
			}
			query.WriteString(text[i : i+n+2])
			i += n + 1
		default:
			query.WriteByte(c)
		}
	}
	end()
	return queries
}
