package botdetection

import (
	"regexp"
	"strings"
	"sync"
)

// The agents that Kong 3.9.1 takes for robots are those of the crawler section of the public
// uap-core list (github.com/ua-parser/uap-core, Apache License 2.0), of which only whether
// one matches is of interest here: what the list captures and what may stand around a name
// is left out.

// libraries are HTTP clients of programs; a version may follow.
var libraries = []string{
	`Google-HTTP-Java-Client`, `Apache-HttpClient`, `Go-http-client`, `scalaj-http`, `http%20client`,
	`Python-urllib`, `HttpMonitor`, `TLSProber`, `WinHTTP`, `JNLP`, `okhttp`, `aihttp`, `reqwest`, `axios`,
	`unirest-(?:java|python|ruby|nodejs|php|net)`,
}

// versioned are names that count only with a version behind a slash.
var versioned = []string{
	`008`, `Altresium`, `Argus`, `BaiduMobaider`, `BoardReader`, `DNSGroup`, `DataparkSearch`, `EDI`, `Goodzer`,
	`Grub`, `INGRID`, `Infohelfer`, `LinkedInBot`, `LOOQ`, `Nutch`, `OgScrper`, `Pandora`, `PathDefender`, `Peew`,
	`PostPost`, `Steeler`, `Twitterbot`, `VSE`, `WebCrunch`, `WebZIP`, `Y!J-BR[A-Z]`, `YahooSeeker`, `envolk`,
	`sproose`, `wminer`,
}

// named are robots known by name alone, anywhere in the agent.
var named = []string{
	`CSimpleSpider`, `Cityreview Robot`, `CrawlDaddy`, `CrawlFire`, `Finderbots`, `Index crawler`, `Job Roboter`,
	`KiwiStatus Spider`, `Lijit Crawler`, `QuerySeekerSpider`, `ScollSpider`, `Trends Crawler`, `USyd-NLP-Spider`,
	`SiteCat Webbot`, `BotName/\$BotVersion`, `123metaspider-Bot`, `1470\.net crawler`, `50\.nu`, `8bo Crawler Bot`,
	`Aboundex`, `Accoona-[A-z]{1,30}-Agent`, `AdsBot-Google`, `altavista`, `AppEngine-Google`,
	`archive.{0,30}\.org_bot`, `archiver`, `Ask Jeeves`, `[Bb]ai[Dd]u[Ss]pider-[A-Za-z]`, `bingbot`, `BingPreview`,
	`blitzbot`, `BlogBridge`, `Bloglovin`, `BoardReader Blog Indexer`, `BoardReader Favicon Fetcher`,
	`boitho.com-dc`, `BotSeer`, `BUbiNG`, `\b\w{0,30}favicon\w{0,30}\b`, `\bYeti`, `Catchpoint`, `[Cc]harlotte`,
	`Checklinks`, `clumboot`, `Comodo HTTP\(S\) Crawler`, `Comodo-Webinspector-Crawler`, `ConveraCrawler`,
	`CRAWL-E`, `CrawlConvera`, `Daumoa`, `Feed Seeker Bot`, `Feedbin`, `findlinks`, `Flamingo_SearchEngine`,
	`FollowSite Bot`, `furlbot`, `Genieo`, `gigabot`, `GomezAgent`, `gonzo1`, `Googlebot`, `Google SketchUp`,
	`grub-client`, `gsa-crawler`, `heritrix`, `HiddenMarket`, `holmes`, `HooWWWer`, `htdig`, `ia_archiver`,
	`ICC-Crawler`, `Icarus6j`, `ichiro`, `IconSurf`, `IlTrovatore`, `InfuzApp`, `Innovazion Crawler`,
	`InternetArchive`, `IP2[a-z]{1,30}Bot`, `jbot\b`, `KaloogaBot`, `Kraken`, `Kurzor`, `larbin`, `LEIA`, `LesnikBot`,
	`Linguee Bot`, `LinkAider`, `LinkedInBot`, `Lite Bot`, `Llaut`, `lycos`, `Mail\.RU_Bot`, `masscan`,
	`masidani_bot`, `Mediapartners-Google`, `Microsoft .{0,30} Bot`, `mogimogi`, `mozDex`, `MJ12bot`, `msnbot`,
	`msrbot`, `Mtps Feed Aggregation System`, `netresearch`, `Netvibes`, `NewsGator`, `^NING`, `Nutch`, `Nymesis`,
	`ObjectsSearch`, `OgScrper`, `Orbiter`, `OOZBOT`, `PagePeeker`, `PagesInventory`, `PaxleFramework`,
	`Peeplo Screenshot Bot`, `PHPCrawl`, `PlantyNet_WebRobot`, `Pompos`, `Qwantify`, `Read%20Later`, `Reaper`,
	`RedCarpet`, `Retreiver`, `Riddler`, `Rival IQ`, `scooter`, `Scrapy`, `Scrubby`, `searchsight`, `seekbot`,
	`semanticdiscovery`, `SemrushBot`, `Simpy`, `SimplePie`, `SEOstats`, `SimpleRSS`, `SiteCon`,
	`Slackbot-LinkExpanding`, `Slack-ImgProxy`, `Slurp`, `snappy`, `Speedy Spider`, `Squrl Java`, `Stringer`,
	`TheUsefulbot`, `ThumbShotsBot`, `Thumbshots\.ru`, `Tiny Tiny RSS`, `Twitterbot`, `WhatsApp`, `URL2PNG`,
	`Vagabondo`, `VoilaBot`, `^vortex`, `Votay bot`, `^voyager`, `WASALive.Bot`, `Web-sniffer`, `WebThumb`,
	`WeSEE:[A-z]`, `WhatWeb`, `WIRE`, `WordPress`, `Wotbox`, `www\.almaden\.ibm\.com`, `Xenu(?:.s|) Link Sleuth`,
	`Xerka [A-z]{1,30}Bot`, `yacy`, `YahooSeeker`, `Yahoo! Slurp`, `Yandex\w`, `YodaoBot`, `YottaaMonitor`, `Yowedo`,
	`^Zao`, `ZeBot_www\.ze\.bz`, `ZooShot`, `ZyBorg`,
}

// shapes are what robots look like, whatever their name.
var shapes = []string{
	`Pingdom\.com_bot_version_\d+\.\d`,
	`facebookexternalhit/\d+\.\d`,
	`Google.{0,50}/\+/web/snippet`,
	`Twitterbot/\d+\.\d`,
	` PTST/\d+(?:\.\d+)?$`,
	`/(?:(?:Ant-)?Nutch|[A-z]+[Bb]ot|[A-z]+[Ss]pider|Axtaris|fetchurl|Isara|ShopSalad|Tailsweep)[ \-]\d`,
	`MSIE \d+\.\d+(?:[a-z]\d?)?;.{0,200} MSIECrawler`,
	`\b(?:Boto3?|JetS3t|aws-(?:cli|sdk-(?:cpp|go|go-v\d|java|nodejs|ruby2?|dotnet-(?:\d{1,2}|core)))|s3fs)/\d+\.\d`,
	`(?:[Aa]rchiver|[Ii]ndexer|[Ss]craper|[Bb]ot|[Ss]pider|[Cc]rawl[a-z]{0,50})[/ ]\d`,
	`[Ss][Pp][Ii][Dd][Ee][Rr]|[Ss]crape|[Cc][Rr][Aa][Ww][Ll]`,
}

// robots is one expression for all of the built-in list. It is compiled when the first
// configuration asks for it: most commands never do.
var robots = sync.OnceValue(func() *regexp.Regexp {
	alternatives := append([]string{
		`\b(?:` + strings.Join(versioned, `|`) + `)/\d`,
		strings.Join(libraries, `|`),
		strings.Join(named, `|`),
	}, shapes...)
	return regexp.MustCompile(strings.Join(alternatives, `|`))
})
