# The function as puma serves it.
PARTS = %w[part1 part2 part3].freeze

# Parts with pauses.
class Parts
  def each
    PARTS.each do |part|
      yield "#{part}\n"
      sleep 0.3
    end
  end
end

run lambda { |env|
  headers = { 'content-type' => 'text/plain' }
  next [200, headers, Parts.new] if env['QUERY_STRING'] == 'do=parts'

  body = "ok #{env['rack.input'].read.bytesize}\n"
  sleep 0.5 if env['QUERY_STRING'] == 'do=late'
  [200, headers.merge('content-length' => body.bytesize.to_s), [body]]
}
