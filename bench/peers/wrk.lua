-- One request over and over: body and content type from the environment; the figures as one line of JSON.
-- BENCH_FRESH names a header of which no two requests have the same value.
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("BENCH_TYPE")
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

local fresh, count = os.getenv("BENCH_FRESH") or "", 0
if fresh ~= "" then
  request = function()
    count = count + 1
    wrk.headers[fresh] = string.format("%08d", count)
    return wrk.format()
  end
end

-- BENCH_HEADERS is a file with further headers: a line for each request, in turn, tabs between headers.
local headers_path = os.getenv("BENCH_HEADERS") or ""
if headers_path ~= "" then
  local requests, index = {}, 0
  function init(_)
    for line in io.lines(headers_path) do
      local headers = {}
      for name, value in pairs(wrk.headers) do headers[name] = value end
      for field in line:gmatch("[^\t]+") do
        local name, value = field:match("^(.-): (.*)$")
        headers[name] = value
      end
      requests[#requests + 1] = wrk.format(nil, nil, headers)
    end
  end
  request = function()
    index = index % #requests + 1
    return requests[index]
  end
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
