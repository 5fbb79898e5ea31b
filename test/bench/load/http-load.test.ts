import { expect, it } from 'vitest';
import { parseAb, parseWrk } from './http-load.ts';

const wrk = `Running 1s test @ http://127.0.0.1:1/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.88ms    9.32ms  63.39ms   87.00%
    Req/Sec    18.82k     3.08k   22.40k    80.00%
  Latency Distribution
     50%  655.00us
     75%    2.93ms
     90%   18.53ms
     99%  650.05us
  18755 requests in 1.00s, 37.03MB read
Requests/sec:  18723.10
Transfer/sec:     36.97MB
`;

it("reads wrk's report, in its various units of time", () => {
  expect(parseWrk(wrk)).toEqual({ requests: 18_755, requestsPerSecond: 18_723.1, p99Ms: 0.65005 });
  expect(parseWrk(wrk.replace('650.05us', '1.20s ')).p99Ms).toBe(1200);
});

it('takes no report with failures in it', () => {
  expect(() => parseWrk(`${wrk}  Non-2xx or 3xx responses: 5\n`)).toThrow('Non-2xx or 3xx responses: 5');
  expect(() => parseWrk('wrk: nothing')).toThrow('not a report');
});

const ab = `Complete requests:      26997
Failed requests:        0
Requests per second:    26996.70 [#/sec] (mean)
Percentage of the requests served within a certain time (ms)
  50%      2
  99%      8
 100%     11 (longest request)
`;

it("reads ab's report", () => {
  expect(parseAb(ab)).toEqual({ requests: 26_997, requestsPerSecond: 26_996.7, p99Ms: 8 });
  expect(() => parseAb(ab.replace('requests:        0', 'requests:        3'))).toThrow('Failed requests');
  expect(() => parseAb(`${ab}Non-2xx responses:      7\n`)).toThrow('Non-2xx responses');
});
